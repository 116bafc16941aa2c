"""`mllock why`: which requirement brought a locked package in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:
    from mllock.workflows.why import Chain, Locked

__all__ = ["command"]


@click.command(
    "why",
    short_help="Say which requirement brought a locked package in.",
    epilog="Example: mllock why starlette",
)
@click.argument("name")
@json_option
@click.pass_obj
def command(app: App, name: str, *, as_json: bool) -> None:
    """Say why the Python or Debian package NAME is in the lock: the line of the spec that asks for
    it, and what leads from there to it.

    Read from the locked files; those that are not in the cache are fetched.
    """
    from mllock.workflows.why import why

    found = why(app.context(), name)
    if as_json:
        app.print_json([_as_json(item) for item in found])
        return
    for item in found:
        where = f" ({', '.join(item.platforms)})" if item.platforms else ""
        app.print(f"{item.name} {item.version}{where}")
        for chain in item.chains:
            app.print(_line(chain))
        if not item.chains:
            app.print("  nothing asks for it any more")


def _line(chain: Chain) -> str:
    place = f"{chain.file}:{chain.line}" if chain.line else chain.file or "mlproject.lock"
    return f"  {place}: {' -> '.join(chain.steps)}"


def _as_json(item: Locked) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "version": item.version,
        **({"platforms": list(item.platforms)} if item.platforms else {}),
        "chains": [
            {"file": chain.file, "line": chain.line, "steps": list(chain.steps)}
            for chain in item.chains
        ],
    }
