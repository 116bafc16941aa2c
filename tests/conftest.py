"""Goldens, bytes that must not change without somebody deciding so; and the schemas of OCI.

`pytest --update-goldens` writes what tests find; the diff is then reviewed like code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is the machine's affair, and no property.
settings.register_profile("mllock", deadline=None)
settings.load_profile("mllock")

Golden = Callable[[Path, bytes], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write golden files instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, found)`: `found` is what the file holds, or the file becomes it."""

    def compare(path: Path, found: bytes) -> None:
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
        expected = path.read_bytes() if path.exists() else b""
        assert found == expected, f"{path.name}: changed on purpose? pytest --update-goldens"

    return compare


@pytest.fixture(scope="session")
def validate_oci() -> Callable[[bytes, str], None]:
    """`validate_oci(document, schema)`: against the OCI image specification's own schemas."""
    import jsonschema
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT4

    folder = Path(__file__).parent / "data" / "oci-image-schema"
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}

    def retrieve(uri: str) -> Resource:
        # Each file has an `id` in another folder of one site; the names are unique.
        return DRAFT4.create_resource(schemas[uri.rpartition("/")[2]])

    registry = Registry(retrieve=retrieve)

    def validate(document: bytes, schema: str) -> None:
        validator = jsonschema.Draft4Validator(schemas[schema], registry=registry)
        validator.validate(json.loads(document))

    return validate
