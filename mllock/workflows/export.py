"""`mllock export`: what this project is, in the forms of other tools.

Each export is made from spec, lock and run, as `mllock build` would make it now; what was built
before is not asked. So an export of the same inputs has the same bytes.
"""

from __future__ import annotations

from mllock.attest.keys import load_or_create_key
from mllock.core.platform import image_platform
from mllock.errors import SpecError
from mllock.image.types import ImageKind
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import Lock
from mllock.spec.reader import load_spec
from mllock.workflows.context import Context
from mllock.workflows.environment import environment_of
from mllock.workflows.parts import finish, refuse_another, serve_parts, train_parts
from mllock.workflows.runs import run_to_serve
from mllock.workflows.sbom import sbom_of

__all__ = ["default_platform", "export_sbom"]


def default_platform(lock: Lock) -> str:
    """This machine's, if the lock is for it, else the first."""
    own, platforms = image_platform(), platforms_of(lock)
    return own if own in platforms else platforms[0]


def export_sbom(
    ctx: Context, kind: ImageKind, run_id: str | None = None, platform: str | None = None
) -> bytes:
    """The bill of materials that `build` puts beside the image for `platform` (default: that for
    this machine, if the lock is for it, else the first). Raises what building raises."""
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    if kind == "serve" and loaded.spec.serve is None:
        raise SpecError(
            "a serve image needs a [serve] table",
            file=loaded.path.name,
            key="serve",
            hint='say there what is to be served, or try "mllock export sbom --image train"',
        )
    whole, _ = current_lock(ctx, loaded)
    lock = narrowed(whole, platform or default_platform(whole))
    run = run_to_serve(ctx, lock, run_id) if kind == "serve" else None
    environment = environment_of(ctx, loaded, lock, whole, run)
    if run is None:
        parts = train_parts(ctx, loaded)
    else:
        refuse_another(loaded, environment, run)
        parts = serve_parts(ctx, loaded, run)
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    built = finish(loaded, lock, environment, parts, key)
    return sbom_of(ctx, loaded, lock, environment, built, run)
