"""What differs between two runs or locks, section by section: values in, items out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from mllock.diff.types import Item, Section
from mllock.gates.types import Result
from mllock.lock.compare import changes, stale_reasons
from mllock.lock.types import Lock
from mllock.spec.gates import Condition, higher_is_better
from mllock.spec.meaning import Meaning
from mllock.spec.types import Scalar

__all__ = ["gates", "lock_sections", "metrics", "params"]

_KINDS = {"base": "base", "system": "debs", "python": "packages", "data": "data"}


def lock_sections(old: Lock, new: Lock) -> dict[str, Section]:
    """What is declared, base, debs, packages and data, by name."""
    meaning = Meaning(
        environment=new.inputs.environment, data=new.inputs.data, builder=new.inputs.builder
    )
    declared = []
    for reason in stale_reasons(old, meaning):
        name, _, rest = reason.partition(": ")
        declared.append(Item(name=name, change="changed", remark=rest))
    items: dict[str, list[Item]] = {name: [] for name in _KINDS.values()}
    for change in changes(old, new):
        items[_KINDS[change.kind]].append(
            Item(
                name=change.name,
                change="changed" if change.action == "updated" else change.action,
                old=change.old,
                new=change.new,
                remark="" if change.platform is None else f"({change.platform})",
            )
        )
    sections = {name: Section(name=name, items=tuple(found)) for name, found in items.items()}
    return {"declared": Section(name="declared", items=tuple(declared)), **sections}


def params(old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> Section:
    return Section(name="params", items=tuple(_values(old, new, lambda *_: ("", {}))))


def metrics(
    old: Mapping[str, float], new: Mapping[str, float], conditions: Iterable[Condition] = ()
) -> Section:
    """With the difference, and whether it is for the better: by a condition, else by the name."""
    conditions = tuple(conditions)

    def judged(name: str, before: Scalar, after: Scalar) -> tuple[str, dict[str, object]]:
        difference = float(after) - float(before)
        if not math.isfinite(difference):
            return "", {}
        up = higher_is_better(name.rpartition("/")[2], conditions)
        word = "better" if (difference > 0) is up else "worse"
        return f"{difference:+g} {word}", {"difference": difference, "better": word == "better"}

    return Section(name="metrics", items=tuple(_values(old, new, judged)))


def gates(old: Iterable[Result], new: Iterable[Result]) -> Section:
    """Gates whose verdict or measure moved, or that only one side was asked."""
    before, after = ({(r.gate, r.subject): r for r in results} for results in (old, new))
    items = []
    for key in [*after, *(key for key in before if key not in after)]:
        one, other = before.get(key), after.get(key)
        name = f"{key[0]}: {key[1]}"
        if one is None or other is None:
            only = one or other
            assert only is not None
            items.append(
                Item(
                    name=name,
                    change="added" if one is None else "removed",
                    old=None if one is None else one.verdict,
                    new=None if other is None else other.verdict,
                    remark=only.summary,
                )
            )
        elif one.verdict != other.verdict or one.measured != other.measured:
            items.append(
                Item(
                    name=name,
                    change="changed",
                    old=_verdict(one),
                    new=_verdict(other),
                    remark=other.summary,
                )
            )
    return Section(name="gates", items=tuple(items))


def _verdict(result: Result) -> str:
    return result.verdict if result.measured is None else f"{result.verdict} ({result.measured:g})"


_Remark = Callable[[str, Scalar, Scalar], tuple[str, Mapping[str, object]]]


def _values(old: Mapping[str, Scalar], new: Mapping[str, Scalar], remark: _Remark) -> list[Item]:
    items = []
    for name in [*new, *(name for name in old if name not in new)]:
        if name in old and name in new:
            before, after = old[name], new[name]
            # True is 1 to Python, and another param; 1 and 1.0 are one number.
            if before == after and isinstance(before, bool) is isinstance(after, bool):
                continue
            words, facts = remark(name, before, after)
            change, values = "changed", {"old-value": before, "new-value": after}
        elif name in new:
            words, facts, change, values = "", {}, "added", {"new-value": new[name]}
        else:
            words, facts, change, values = "", {}, "removed", {"old-value": old[name]}
        items.append(
            Item(
                name=name,
                change=change,  # type: ignore[arg-type] # one of the three above
                old=_text(old[name]) if name in old else None,
                new=_text(new[name]) if name in new else None,
                remark=words,
                facts={**values, **facts},
            )
        )
    return items


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
