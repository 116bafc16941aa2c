"""The release that `no-worse-than` was judged by, as a digest that a judgement names.

Pure. A comparison is good as long as what was compared with is what is released: `release` asks
that again. Specified in docs/reference/gates.md, "The results".
"""

from __future__ import annotations

from mllock.attest.release import Release
from mllock.core import canonical
from mllock.core.digest import Digest

__all__ = ["MEASURE", "measure_digest", "measure_name"]

# Among the inputs of a judgement.
MEASURE = "released"


def measure_digest(release: Release | None) -> Digest:
    """None: nothing was released."""
    if release is None:
        return canonical.digest_of(None)
    return canonical.digest_of(
        {"stage": release.stage, "number": release.number, "record": release.record}
    )


def measure_name(release: Release) -> str:
    return f'release {release.number} of stage "{release.stage}"'
