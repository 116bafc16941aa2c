"""What a gate is called, and what a condition says: the words of [gates], read once.

Pure. `accept` names a gate or a family of gates (`leakage` for `leakage.rows` and all beside it);
results and statements name them by the same words. Specified in docs/reference/gates.md.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mllock.spec.types import Gates, MetricGate, NoWorseGate, SlicesGate, Spec

__all__ = [
    "DATA_GATES",
    "DISPARITIES",
    "GATES",
    "MODEL_GATES",
    "SLICE_METRICS",
    "Condition",
    "Operator",
    "accepts",
    "conditions_of",
    "higher_is_better",
    "no_worse_of",
    "read_condition",
    "slices_of",
    "splits_of",
]

# Judged before training, from the data alone.
DATA_GATES = (
    "leakage.rows",
    "leakage.normalised-rows",
    "leakage.keys",
    "leakage.groups",
    "leakage.time",
    "leakage.label",
    "columns.constant",
    "columns.missing",
    "drift.label",
    "drift.columns",
    "drift.missing",
)
# Judged after it, from what `evaluate` wrote; without [evaluate] from the run's own metrics.
MODEL_GATES = ("metrics", "no-worse-than", "slices")
GATES = DATA_GATES + MODEL_GATES

# What a gate of slices can compare, by the names of scikit-learn and fairlearn.
SLICE_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "specificity",
    "true_positive_rate",
    "true_negative_rate",
    "false_positive_rate",
    "false_negative_rate",
    "selection_rate",
    "roc_auc",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_percentage_error",
    "r2",
    "mean_prediction",
)
# fairlearn's disparities, and the metrics of which they are the larger difference.
DISPARITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "demographic_parity": ("selection_rate",),
        "equal_opportunity": ("true_positive_rate",),
        "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    }
)

Operator = Literal[">=", "<=", "==", ">", "<"]
_HOLDS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        ">=": operator.ge,
        "<=": operator.le,
        "==": operator.eq,
        ">": operator.gt,
        "<": operator.lt,
    }
)
_CONDITION = re.compile(
    r"\s*(?P<metric>[A-Za-z_][\w./-]*)\s*(?P<operator>>=|<=|==|>|<)"
    r"\s*(?P<limit>[-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*"
)
# Of a metric whose name has one of these words, less is better.
_LESS = frozenset(
    (
        *("error", "loss", "mae", "mape", "mse", "msle", "rmse", "rmsle", "brier", "logloss"),
        *("perplexity", "latency", "fnr", "fpr", "hamming", "deviance", "wer", "cer"),
        "difference",
        "false",
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """`metric operator limit`, e.g. `accuracy >= 0.9`; of one test source, or of all."""

    text: str
    metric: str
    operator: Operator
    limit: float
    source: str | None = None
    severity: Literal["block", "warn"] = "block"

    def holds(self, value: float) -> bool:
        """A value that is no number holds nothing."""
        return _HOLDS[self.operator](value, self.limit)


def read_condition(text: str) -> tuple[str, Operator, float] | None:
    """Metric, operator and limit; None if it is not a condition."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        return None
    name: Operator = found["operator"]  # type: ignore[assignment] # the pattern has no others
    return found["metric"], name, float(found["limit"])


def conditions_of(gates: Gates) -> tuple[Condition, ...]:
    """All of them, as they stand; the spec was read, so each is one."""
    out = []
    for item in gates.metrics:
        gate = item if isinstance(item, MetricGate) else MetricGate(that=item)
        read = read_condition(gate.that)
        assert read is not None
        metric, name, limit = read
        out.append(
            Condition(
                text=" ".join(gate.that.split()),
                metric=metric,
                operator=name,
                limit=limit,
                source=gate.source,
                severity=gate.severity,
            )
        )
    return tuple(out)


def no_worse_of(gates: Gates) -> NoWorseGate | None:
    given = gates.no_worse_than
    return NoWorseGate(than=given) if isinstance(given, str) else given


def slices_of(gates: Gates) -> tuple[SlicesGate, ...]:
    given = gates.slices
    if given is None:
        return ()
    return (given,) if isinstance(given, SlicesGate) else given


def splits_of(spec: Spec) -> tuple[str, ...]:
    """The sources that [gates.leakage] is about, in the order train, validation, test.

    What is named in `between` is in the order in which it is named.
    """
    named = spec.gates.leakage.between if spec.gates and spec.gates.leakage else ()
    if named:
        return named
    order = ("train", "validation", "test")
    by_role = [
        (order.index(source.role), name)
        for name, source in spec.data.items()
        if source.role in order
    ]
    return tuple(name for _, name in sorted(by_role, key=lambda item: item[0]))


def higher_is_better(metric: str, conditions: Iterable[Condition] = ()) -> bool:
    """Which way is worse: what a condition on the metric says, else what its name says."""
    for condition in conditions:
        if condition.metric == metric and condition.operator != "==":
            return condition.operator in (">=", ">")
    return _LESS.isdisjoint(re.split(r"[^a-z]+", metric.lower()))


def accepts(pattern: str, gate: str) -> bool:
    """Whether an exception for `pattern` is one for `gate`: the same name, or its family."""
    return gate == pattern or gate.startswith(f"{pattern}.")
