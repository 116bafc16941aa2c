"""Below `.mllock`, nothing that a link leads out of the project is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.evaluating import judged_project

from mllock.errors import InputError
from mllock.workflows.context import Context
from mllock.workflows.evaluate import evaluate
from mllock.workflows.gates import judge_run


def led_out(ctx: Context, place: Path) -> Path:
    """A link is where `place` was, and leads to where it is now."""
    outside = ctx.project.parent / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    return outside


def content(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(act: Callable[[], object], place: Path, found: Path, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        act()
    assert str(caught.value) == (
        f"{place}: a link leads it out of the project, and what lies there would be replaced\n"
        f"found: {found}\nhint: {hint}"
    )


@pytest.mark.parametrize("part", [".", "runs", "runs/RUN"])
def test_runs(tmp_path: Path, part: str) -> None:
    ctx, run, _ = judged_project(tmp_path / "p")
    outside = led_out(ctx, ctx.state / part.replace("RUN", run.id))
    before = content(outside)
    real = run.path.resolve()
    assert real.is_relative_to(outside)
    refused(lambda: evaluate(ctx), run.path, real, "remove the link")
    refused(lambda: judge_run(ctx, run.id), run.path, real, "remove the link")
    assert content(outside) == before
