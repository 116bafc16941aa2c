"""What was asked, as a digest: [gates] and the columns of [data] that matter to one kind.

Pure. A judgement names it, and `release` compares it with that of the present spec: a run that was
judged by other gates is not judged. Exceptions are not part of it, they are looked at by day; nor
are commands and paths. Specified in docs/reference/gates.md, "Config".
"""

from __future__ import annotations

from typing import Any

import msgspec

from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.gates.types import Kind
from mllock.spec.gates import conditions_of, no_worse_of, slices_of
from mllock.spec.types import Gates, Spec

__all__ = ["config_of", "is_declared", "kinds_of"]

_COLUMNS = ("role", "label", "key", "group", "time")


def is_declared(gates: Gates | None, kind: Kind) -> bool:
    """Whether [gates] asks anything of this kind."""
    if gates is None:
        return False
    if kind == "data":
        return any(table is not None for table in (gates.leakage, gates.columns, gates.drift))
    return bool(gates.metrics or slices_of(gates)) or gates.no_worse_than is not None


def kinds_of(spec: Spec) -> tuple[Kind, ...]:
    """The kinds that a run of this spec has to be judged by."""
    kinds: tuple[Kind, ...] = ("data", "model")
    return tuple(kind for kind in kinds if is_declared(spec.gates, kind))


def config_of(spec: Spec, kind: Kind) -> Digest:
    """The digest of what `spec` asks of this kind."""
    gates = spec.gates or Gates()
    value: dict[str, Any] = {
        "kind": kind,
        "gates": _data(gates) if kind == "data" else _model(gates),
        "data": {
            name: {column: msgspec.to_builtins(getattr(source, column)) for column in _COLUMNS}
            for name, source in spec.data.items()
        },
    }
    if kind == "model":
        # Whether test sources are evaluated, and what counts as positive there.
        value["evaluate"] = None if spec.evaluate is None else {"positive": spec.evaluate.positive}
    return canonical.digest_of(value)


def _data(gates: Gates) -> dict[str, Any]:
    tables = {"leakage": gates.leakage, "columns": gates.columns}
    drift = gates.drift
    if drift is not None:
        # The columns that slices are made by are compared as well.
        by = [column for gate in slices_of(gates) for column in gate.by]
        drift = msgspec.structs.replace(drift, columns=tuple(dict.fromkeys((*drift.columns, *by))))
    return {
        name: msgspec.to_builtins(table)
        for name, table in {**tables, "drift": drift}.items()
        if table is not None
    }


def _model(gates: Gates) -> dict[str, Any]:
    return {
        "metrics": [
            {"that": one.text, "source": one.source, "severity": one.severity}
            for one in conditions_of(gates)
        ],
        "no-worse-than": msgspec.to_builtins(no_worse_of(gates)),
        "slices": [msgspec.to_builtins(gate) for gate in slices_of(gates)],
    }
