"""`mllock diff`: what two runs, locks or models have that differs.

Compared is what both sides have. Nothing of either is executed. A record is signed over digests
only: texts of code and rows of data are looked for in the project and in git, count only with the
digest that was recorded, and where there are none the answer says so. Raises InputError for a side
that is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mllock.attest.policy import load_policy
from mllock.core.digest import sha256_of
from mllock.diff import sections
from mllock.diff.text import MAX_TEXT
from mllock.diff.trees import TextOf, compare_files, compare_models
from mllock.diff.types import Diff, Item, Section
from mllock.errors import InputError
from mllock.spec.gates import Condition
from mllock.train.runs import list_runs
from mllock.workflows.context import Context
from mllock.workflows.diff_contents import finder, with_contents
from mllock.workflows.diff_sides import Side, other_side, side_of, side_of_run

__all__ = ["diff"]

ORDER = (
    *("metrics", "gates", "params", "code", "data", "declared"),
    *("base", "debs", "packages", "model"),
)


def diff(
    ctx: Context,
    a: str | None,
    b: str | None,
    *,
    policy: Path | None = None,
    base: Path | None = None,
    conditions: Iterable[Condition] = (),
) -> Diff:
    """`a` to `b`. Without `b`: the newest good run, or for a lock the one of the project. Without
    both, the two newest good runs. Paths are relative to `base`, the folder of who asks."""
    trust = load_policy(policy, ctx.config_dir, ctx.environ)
    there = base or Path.cwd()
    if a is None:
        good = [run for run in list_runs(ctx.runs) if run.is_good]
        if len(good) < 2:
            raise InputError(
                "there are no two good runs to compare",
                found=f"{len(good)} of {len(list_runs(ctx.runs))} runs",
                hint="name two of: a run, a lock, a model, a git revision",
            )
        left, right = (side_of_run(run, trust) for run in (good[1], good[0]))
    else:
        left = side_of(ctx, a, trust, there)
        right = side_of(ctx, b, trust, there) if b is not None else other_side(ctx, left, trust)
    return _compared(ctx, left, right, tuple(conditions))


# Comparing


def _compared(ctx: Context, a: Side, b: Side, conditions: tuple[Condition, ...]) -> Diff:
    found: dict[str, Section] = {}
    if a.lock is not None and b.lock is not None:
        found |= sections.lock_sections(a.lock, b.lock)
        found["data"] = with_contents(ctx, a, b, found["data"])
    if a.record is not None and b.record is not None:
        found["params"] = sections.params(a.record.params, b.record.params)
        found["metrics"] = sections.metrics(_metrics(a), _metrics(b), conditions)
        found["gates"] = _gates(a, b)
        found["code"] = _code_section(ctx, a, b)
    if a.model is not None and b.model is not None:
        found["model"] = Section(name="model", items=compare_models(a.model, b.model))
    if not found:
        raise InputError(
            f"a {a.title.kind} and a {b.title.kind} have nothing in common to compare",
            found=f"{a.title.name}, {b.title.name}",
            hint="compare two runs, two locks or two models; a run has a lock and a model",
        )
    return Diff(
        a=a.title, b=b.title, sections=tuple(found[name] for name in ORDER if name in found)
    )


def _metrics(side: Side) -> dict[str, float]:
    return dict(side.metrics) | {
        f"{one.source}/{name}": value
        for one in side.judged.evaluations
        for name, value in one.metrics.items()
    }


def _gates(a: Side, b: Side) -> Section:
    """Only where both were judged: everything else would read as if gates had been taken away."""
    notes = [f"{text}; not compared" for side in (a, b) for text in side.judged.problems]
    unjudged = [side.title.name for side in (a, b) if not side.judged.results]
    if unjudged:
        if len(unjudged) == 1:
            notes.append(f"{unjudged[0]} was not judged")
        return Section(name="gates", notes=tuple(notes))
    found = sections.gates(a.judged.results, b.judged.results)
    return Section(name="gates", items=found.items, notes=tuple(notes))


def _code_section(ctx: Context, a: Side, b: Side) -> Section:
    assert a.record is not None
    assert b.record is not None
    if a.record.code == b.record.code:
        return Section(name="code")
    if a.code is None or b.code is None:
        return Section(
            name="code",
            items=(
                Item(name="code", change="changed", old=a.record.code[:19], new=b.record.code[:19]),
            ),
            notes=("which files is not known: a code.manifest is missing, or is another one",),
        )
    texts = _texts(ctx, a), _texts(ctx, b)
    return Section(name="code", items=compare_files(a.code, b.code, *texts))


def _texts(ctx: Context, side: Side) -> TextOf:
    find = finder(ctx, side, MAX_TEXT)
    return lambda entry: find(entry.path, lambda data: sha256_of(data) == entry.digest)
