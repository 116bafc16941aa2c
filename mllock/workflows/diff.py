"""`mllock diff`: what two runs, locks or models have that differs.

Compared is what both sides have. Nothing of either is executed. A record is signed over digests
only: texts of code and rows of data are looked for in the project and in git, count only with the
digest that was recorded, and where there are none the answer says so. Raises InputError for a side
that is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mllock.attest.policy import load_policy
from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.data.git import Repository
from mllock.data.scan import scan
from mllock.diff import sections
from mllock.diff.rows import MAX_TABLE, rows_between
from mllock.diff.text import MAX_TEXT
from mllock.diff.trees import TextOf, compare_files, compare_models
from mllock.diff.types import Diff, Item, Section
from mllock.errors import DataError, InputError
from mllock.lock.types import DataPin
from mllock.spec.gates import Condition
from mllock.store.regular import open_regular
from mllock.train.runs import list_runs
from mllock.workflows.context import Context
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
        found["data"] = _data(ctx, a, b, found["data"])
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
    find = _finder(ctx, side, MAX_TEXT)
    return lambda entry: find(entry.path, lambda data: sha256_of(data) == entry.digest)


_Find = Callable[[str, Callable[[bytes], bool]], bytes | None]


def _finder(ctx: Context, side: Side, max_bytes: int) -> _Find:
    """Looks for a file in the project, then in git, and believes what has the right digest."""
    repository = Repository.of(ctx.project, decides=False) if side.commit else None

    def find(path: str, is_it: Callable[[bytes], bool]) -> bytes | None:
        try:
            with open_regular(ctx.project / path) as file:
                data = file.read(max_bytes + 1)
            if len(data) <= max_bytes and is_it(data):
                return data
        except (OSError, InputError):
            pass  # it is elsewhere, or nowhere
        if repository is None or side.commit is None:
            return None
        kept = repository.blob(side.commit, path, max_bytes=max_bytes)
        return kept if kept is not None and is_it(kept) else None

    return find


def _data(ctx: Context, a: Side, b: Side, section: Section) -> Section:
    """The sources that changed, with their files and rows as far as they are here."""
    assert a.lock is not None
    assert b.lock is not None
    items = []
    for item in section.items:
        name = item.name.removeprefix("data.")
        old, new = a.lock.data.get(name), b.lock.data.get(name)
        facts: dict[str, Any] = {}
        lines: tuple[str, ...] = ()
        if old is not None and new is not None and old.tree != new.tree:
            lines, facts = _source(ctx, a, b, old, new)
        items.append(
            Item(
                name=item.name,
                change=item.change,
                old=item.old,
                new=item.new,
                remark=item.remark,
                lines=lines,
                facts=facts,
            )
        )
    return Section(name="data", items=tuple(items))


def _source(
    ctx: Context, a: Side, b: Side, old: DataPin, new: DataPin
) -> tuple[tuple[str, ...], dict[str, Any]]:
    if old.kind == new.kind == "file":
        texts = [
            _finder(ctx, side, MAX_TABLE)(pin.path, lambda data, pin=pin: _is_tree(data, pin))  # type: ignore[misc]
            for side, pin in ((a, old), (b, new))
        ]
        missing = _missing(texts)
        if texts[0] is None or texts[1] is None:
            return (f"its rows {missing} are not here, only the digest",), {}
        rows = rows_between(new.path, texts[0], texts[1])
        if rows is None:
            return (), {}
        words = f"rows: {rows[0]} added, {rows[1]} removed"
        return (words,), {"rows": {"added": rows[0], "removed": rows[1]}}
    trees = [_manifest(ctx, side, pin) for side, pin in ((a, old), (b, new))]
    if trees[0] is None or trees[1] is None:
        return (f"its files {_missing(trees)} are not here, only the digest of all of them",), {}
    files = compare_files(trees[0], trees[1], lambda _: None, lambda _: None)
    return tuple(f"{file.change} {file.name}" for file in files[:50]), {
        "files": [{"change": file.change, "name": file.name} for file in files]
    }


def _missing(found: list[Any]) -> str:
    return " and ".join(
        side for side, it in zip(("before", "after"), found, strict=True) if it is None
    )


def _is_tree(data: bytes, pin: DataPin) -> bool:
    digest = sha256_of(data)
    return any(
        TreeManifest.of([Entry(kind=kind, path=SINGLE, size=len(data), digest=digest)]).digest
        == pin.tree
        for kind in ("f", "x")
    )


def _manifest(ctx: Context, side: Side, pin: DataPin) -> TreeManifest | None:
    """The files of a folder, if it is in the project as it was pinned."""
    assert side.lock is not None
    name = next(name for name, one in side.lock.data.items() if one is pin)
    declared = side.lock.inputs.data.get(name, {})
    root = (ctx.project / pin.path).resolve()
    if not root.is_relative_to(ctx.project.resolve()):
        return None  # a link: what is outside is not read for a lock that may be anybody's
    try:
        found = scan(
            root,
            include=declared.get("include", ("**/*",)),
            exclude=declared.get("exclude", ()),
            name=pin.path,
        )
    except (DataError, OSError):
        return None
    return found if found.digest == pin.tree else None
