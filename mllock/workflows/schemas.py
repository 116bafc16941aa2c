"""The JSON Schemas of mlproject.toml and mlproject.lock, made from the types that read them.

`python -m mllock.workflows.schemas` writes them into schemas/; a test fails when the committed
files are not what it would write. JSON Schema draft 2020-12, for editors and for other
implementations. A schema sees structure; rules over several keys are the readers'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mllock.lock.types import Lock
from mllock.spec.describe import DESCRIPTIONS
from mllock.spec.types import Spec
from mllock.store.atomic import write_text

__all__ = ["FILES", "lock_schema", "spec_schema", "write_schemas"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    return _schema(Spec, "mlproject.toml", "urn:mllock:schema:mlproject:1", DESCRIPTIONS)


def lock_schema() -> dict[str, Any]:
    schema = _schema(Lock, "mlproject.lock", "urn:mllock:schema:mlproject-lock:1", {})
    # The version gate comes before the types, and asks for the key.
    schema["required"].insert(0, "lock-version")
    # msgspec's schema leaves out which keys a table with literal keys may have.
    schema["$defs"]["Wheel"]["properties"]["hashes"]["propertyNames"] = {"enum": ["sha256"]}
    return schema


FILES = {"mlproject.schema.json": spec_schema, "mlproject.lock.schema.json": lock_schema}


def write_schemas(folder: Path) -> None:
    for name, make in FILES.items():
        write_text(folder / name, text(make()))


def text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(
    kind: type[msgspec.Struct], title: str, identifier: str, descriptions: Mapping[str, str]
) -> dict[str, Any]:
    made = msgspec.json.schema(kind)
    records = made["$defs"]
    for name, record in records.items():
        for key, value in record.get("properties", {}).items():
            described = descriptions.get(f"{name}.{key}")
            if described is not None:
                # Beside a $ref, a description is of this key and not of the record.
                value["description"] = described
    root = _without_null(records.pop(kind.__name__))
    return {
        "$schema": _DRAFT,
        "$id": identifier,
        **root,
        "title": title,
        "$defs": {name: _without_null(record) for name, record in sorted(records.items())},
    }


def _without_null(value: Any) -> Any:
    """TOML has no null: what may be None may be absent, and is never written as null."""
    if isinstance(value, list | tuple):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {
        key: _without_null(item)
        for key, item in value.items()
        if not (key == "default" and item is None)
    }
    options = [item for item in out.get("anyOf", ()) if item != {"type": "null"}]
    if len(options) == 1 and len(options) < len(out["anyOf"]):
        del out["anyOf"]
        out = {**options[0], **out}
    return out


def main() -> None:
    write_schemas(Path(__file__).parents[2] / "schemas")


if __name__ == "__main__":
    main()
