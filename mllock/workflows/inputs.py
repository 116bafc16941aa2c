"""The inputs of a program that runs, and how it ended: what training and evaluating have in common.

Declared data is verified by content before the program and after it, and looked at in between, so
that what was changed and put back is found as well. What mllock keeps of a run while a program runs
has to be as it was. Raises VoidRunError, ProgramError, and KeyboardInterrupt when the user
interrupted the program.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from mllock.core.tree import TreeManifest
from mllock.data.touched import Looks, look, touched
from mllock.data.walk import shown
from mllock.errors import InputError, ProgramError, VoidRunError
from mllock.lock.types import Lock
from mllock.spec.sources import here
from mllock.spec.types import DataSource, Spec
from mllock.train.logs import how_it_failed, tail
from mllock.train.types import CodeIdentity, Outcome, RunPlan
from mllock.workflows.context import Context

__all__ = [
    "ended_well",
    "look_at_data",
    "refuse_meddling",
    "select_identity",
    "verify_data",
    "verify_data_again",
]

Sources = Mapping[str, DataSource]


def look_at_data(ctx: Context, sources: Sources) -> dict[str, Looks]:
    return {name: look(ctx.project, name, source) for name, source in sources.items()}


def verify_data(ctx: Context, sources: Sources, lock: Lock) -> dict[str, TreeManifest]:
    """By content: each source is the one that the lock pins. Raises InputError."""
    from mllock.data.pin import verify_source

    return {
        name: verify_source(ctx.project, name, source, lock.data[name])
        for name, source in sources.items()
    }


def verify_data_again(
    ctx: Context, plan: RunPlan, before: Mapping[str, Looks], started: Mapping[str, Looks] | None
) -> None:
    """The data of `plan` after its program; `before` and `started` are how it looked then."""
    sources = {name: plan.spec.data[name] for name in plan.data}
    hint = f"nothing may write to declared data while a run reads it; {plan.again}"
    try:
        verify_data(ctx, sources, plan.lock)
        # Last: it covers all that was hashed.
        after = look_at_data(ctx, sources)
    except InputError as error:  # changed, gone, or a link by now
        raise VoidRunError(
            f"data changed while the program ran: {error.message}",
            file=error.file,
            key=error.key,
            expected=error.expected,
            found=error.found,
            hint=hint,
        ) from error
    for name, source in sources.items():
        if started is None:
            path = touched(before[name], after[name])
        else:
            path = touched(before[name], started[name], linked=True)
            path = touched(started[name], after[name]) if path is None else path
        if path is not None:
            raise VoidRunError(
                "data was changed and put back while the program ran",
                file=f"{here(source)}/{path}" if path else here(source),
                key=f"data.{name}",
                expected="data that nothing writes to, replaces or renames",
                found="the bytes that are locked, with other marks (inode, times) than before",
                hint=hint,
            )


def select_identity(ctx: Context, spec: Spec, patterns: tuple[str, ...] | None) -> CodeIdentity:
    """The code that `patterns` choose, as it is now."""
    from mllock.data.code import select_code

    selected = select_code(ctx.project, spec, patterns)
    return CodeIdentity(manifest=selected.manifest, commit=selected.commit, dirty=selected.dirty)


def refuse_meddling(run: Path, expected: Collection[str]) -> None:
    """A program can reach all that its user can. What is kept of its run is still there, and no
    more."""
    try:
        found = set(os.listdir(run))
    except OSError:
        found = set()
    links = [path for path in (run, *(run / name for name in found)) if path.is_symlink()]
    if found != set(expected) or links:
        raise ProgramError(
            "the program changed the folder in which mllock keeps its run",
            file=str(run),
            expected=", ".join(sorted(expected)),
            found=", ".join(sorted(map(shown, found))) or "nothing",
            hint="write and remove files only in the folder that the program runs in",
        )


def ended_well(plan: RunPlan, outcome: Outcome, log: Path, place: str) -> None:
    """`place` is where `log` will be found when the command has ended."""
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.refused is not None:
        raise outcome.refused
    if outcome.exit_code == 0:
        return
    what = "training" if plan.table == "train" else "evaluation"
    if outcome.out_of_memory:
        assert plan.spec.train is not None
        limit = plan.spec.train.memory
        raise ProgramError(
            f"the {what} program was ended: out of memory",
            file=place,
            expected=f"at most {limit}" if limit else "no more than the engine's machine has",
            found=tail(log) or "no output",
            hint="use less, or raise [train] memory" if limit else "use less, or a larger machine",
        )
    raise ProgramError(
        f"the {what} program {how_it_failed(outcome.exit_code)}",
        file=place,
        found=tail(log) or "no output",
    )
