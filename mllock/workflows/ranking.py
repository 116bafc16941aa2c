"""Runs in the order of a metric: the best first, those that do not have it last.

Which way is better says a condition of [gates] on the metric, else its name. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mllock.errors import InputError
from mllock.spec.gates import Condition, higher_is_better
from mllock.spec.hints import near
from mllock.workflows.runs import RunRow

__all__ = ["metric_named", "ranked"]


def metric_named(rows: Iterable[RunRow], name: str) -> str:
    """The metric that a person calls `name`: `rmse`, or `test/rmse` of an evaluation; the source
    may be left out where one only has it. Raises InputError."""
    known = list(dict.fromkeys(metric for row in rows for metric in row.metrics))
    if name in known:
        return name
    below = [metric for metric in known if metric.partition("/")[2] == name]
    if len(below) == 1:
        return below[0]
    if below:
        raise InputError(
            f'more than one source has the metric "{name}"', found=", ".join(sorted(below))
        )
    if not known:
        raise InputError(
            f'no run has the metric "{name}", or any other',
            hint="[train] metrics in mlproject.toml names the file that has them",
        )
    meant = near(name, known) or near(name, {metric.partition("/")[2] for metric in known} - {""})
    hint = f'did you mean "{meant}"?' if meant else None
    raise InputError(
        f'no run has the metric "{name}"', expected=", ".join(sorted(known)), hint=hint
    )


def ranked(
    rows: Sequence[RunRow],
    metric: str,
    conditions: Iterable[Condition] = (),
    *,
    reverse: bool = False,
) -> tuple[RunRow, ...]:
    """The best first, or with `reverse` the worst; equal ones stay in their order. Runs without a
    number for it come last in both."""
    sign = -1 if higher_is_better(metric.rpartition("/")[2], conditions) is not reverse else 1
    with_it = [row for row in rows if not math.isnan(row.metrics.get(metric, math.nan))]
    ordered = sorted(with_it, key=lambda row: sign * row.metrics[metric])
    return (*ordered, *(row for row in rows if row not in with_it))
