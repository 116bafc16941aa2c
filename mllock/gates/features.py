"""Gates about columns: constant, missing, and features that are the label in disguise.

They judge profiles (`mllock.gates.profile`) and read nothing themselves. Which columns count is
said in docs/reference/gates.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mllock.gates.power import label_of, power_of
from mllock.gates.profile import Profile, is_judged
from mllock.gates.terms import Terms, quoted
from mllock.gates.types import Result
from mllock.spec.types import DataSource, LeakageGate

__all__ = ["constant_and_missing", "features_of", "label_in_disguise"]


def constant_and_missing(
    name: str, profile: Profile, ignore: Collection[str], terms: Terms
) -> tuple[Result, Result]:
    """`columns.constant` and `columns.missing` of one source."""
    columns = {key: value for key, value in profile.columns.items() if key not in ignore}
    missing = [key for key, value in columns.items() if value.missing == profile.rows]
    constant = [
        key
        for key, value in columns.items()
        if profile.rows >= 2 and value.constant and not value.missing
    ]
    return (
        terms.result(
            "columns.constant",
            name,
            f"{quoted(constant)} {_have(constant)} one value in all {profile.rows} rows"
            if constant
            else f"none of {len(columns)} columns has one value in all {profile.rows} rows",
            holds=not constant,
            details={"columns": constant} if constant else None,
        ),
        terms.result(
            "columns.missing",
            name,
            f"{quoted(missing)} {_have(missing)} no value in any of {profile.rows} rows"
            if missing
            else f"none of {len(columns)} columns is missing in all {profile.rows} rows",
            holds=not missing,
            details={"columns": missing} if missing else None,
        ),
    )


def features_of(columns: Collection[str], source: DataSource, ignore: Collection[str]) -> list[str]:
    """All but label, key, group, time and what is ignored."""
    other = {source.label, source.time, *source.key, *source.group, *ignore}
    return [name for name in columns if name not in other]


def label_in_disguise(
    name: str, profile: Profile, source: DataSource, gate: LeakageGate, terms: Terms
) -> Result:
    """`leakage.label` of one source that declares a label."""
    assert source.label is not None
    limit = gate.max_predictive_power
    label = label_of(profile.series(source.label), profile.positions, text=profile.text)
    if isinstance(label, str):
        return terms.result("leakage.label", name, f'"{source.label}": {label}', holds=None)
    powers = {}
    for feature in features_of(profile.columns, source, gate.ignore):
        series = profile.series(feature)
        if is_judged(series):
            powers[feature] = power_of(series, label)
    ranked = sorted(powers, key=lambda feature: (-powers[feature], feature))
    above = [feature for feature in ranked if powers[feature] > limit]
    return terms.result(
        "leakage.label",
        name,
        "; ".join(_sentences(source.label, ranked, powers, above, limit)),
        holds=not above,
        measured=powers[ranked[0]] if ranked else None,
        limit=limit,
        details={"features": [{"name": each, "power": powers[each]} for each in ranked]}
        if ranked
        else None,
    )


def _sentences(
    label: str, ranked: list[str], powers: dict[str, float], above: list[str], limit: float
) -> Iterator[str]:
    for feature in above[:3]:
        yield (
            f'"{feature}" alone predicts "{label}" with a power of {powers[feature]:.3g}, '
            f"more than {limit:g}"
        )
    if len(above) > 3:
        yield f"so do {len(above) - 3} more"
    if not above:
        best = f', "{ranked[0]}" best, with {powers[ranked[0]]:.3g}' if ranked else ""
        yield f'no feature alone predicts "{label}" with a power above {limit:g}{best}'


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
