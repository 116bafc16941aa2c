"""What the maintainer scripts of a package would do at a first installation; none is ever run.

A preinst ("install") and a postinst ("configure", no old version) are read and followed: branches
for upgrades and removals are not taken, branches that depend on the machine are looked at on both
sides. Every command that is reached must be known to leave nothing in an image, or be a literal
`update-alternatives --install`, `adduser --system` or `addgroup --system`, which are done later, or
be listed for this package in `mllock.lock.debian.script_table`. Anything else is a ResolutionError
at lock time. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mllock.errors import ResolutionError
from mllock.lock.debian.deb import Deb
from mllock.lock.debian.script_accounts import Account
from mllock.lock.debian.script_judge import Alternative, judge
from mllock.lock.debian.script_table import TABLE
from mllock.lock.debian.shell_words import UnknownShellError

__all__ = ["Account", "Alternative", "examine"]

_SHELLS = re.compile(rb"#!\s*(?:/usr)?/bin/(?:sh|bash|dash)\b")


def examine(
    deb: Deb, name: str, version: str, chain: Sequence[str] = ()
) -> tuple[Alternative | Account, ...]:
    """The alternatives and accounts that the scripts make, in their order. `chain` says for whom
    the package was chosen, from what was asked for to itself.

    Raises ResolutionError: a script would do something else that an image would miss.
    """
    found: list[Alternative | Account] = []
    for script, action in (("preinst", "install"), ("postinst", "configure")):
        text = deb.control.get(script)
        if text is None:
            continue
        accepted = TABLE.get((name, script))
        if accepted is not None and accepted.commands == ("*",):
            continue
        if not _SHELLS.match(text):
            raise _refused(
                deb, (name, version), script, chain, UnknownShellError("not a shell script", 1)
            )
        try:
            commands = accepted.commands if accepted else ()
            found += judge(text.decode("utf-8", "replace"), action, commands)
        except UnknownShellError as error:
            raise _refused(deb, (name, version), script, chain, error) from error
    return tuple(found)


def _refused(
    deb: Deb, package: tuple[str, str], script: str, chain: Sequence[str], error: UnknownShellError
) -> ResolutionError:
    name, version = package
    asked = chain[0] if chain else name
    needed = f" ({' -> '.join(chain)})" if len(chain) > 1 else ""
    return ResolutionError(
        f"{name} {version}{needed}: its {script} script would do what mllock cannot do without"
        " running it",
        file=f"{deb.name}: {script}",
        line=error.line or None,
        found=error.message,
        hint=f"leave {asked} out of system-packages, or take an image as base that has it",
    )
