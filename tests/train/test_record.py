"""The record: a golden vector and its mutated twins, laws, and strict reading."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.training import ENVIRONMENT, lock_of, make_project, plan_of, put_wheels

from mllock import __version__
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import RunError
from mllock.store.cache import Cache
from mllock.train.gpus import Driver, Gpu, Granted, gpu_facts
from mllock.train.record import Record, lock_materials, make_record, read_record
from mllock.train.types import Outcome, RunPlan

GOLDEN = Path(__file__).parent / "golden" / "record.json"

OUTCOME = Outcome(
    exit_code=0,
    started="2026-11-23T08:15:01Z",
    finished="2026-11-23T08:15:09Z",
    facts={"cpu": {"machine": "x86_64"}},
    wheels_verified=2,
)


def entry(path: str, data: bytes, kind: str = "f") -> Entry:
    return Entry(kind=kind, path=path, size=len(data), digest=sha256_of(data))


MODEL = TreeManifest.of(
    [
        entry("model.joblib", b"weights"),
        entry("sub/features.json", b"{}", "x"),
        Entry(kind="d", path="empty"),
        Entry(kind="l", path="latest", target="model.joblib"),
    ]
)
BYPRODUCTS = {"metrics.json": sha256_of(b"{}"), "log.txt": sha256_of(b"")}


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    from support.reporter import Recorder

    project = make_project(tmp_path / "p")
    cache = Cache(tmp_path / "cache", Recorder())
    lock = lock_of(project, put_wheels(cache, {("tiny-lib", "1.0"): None, ("z", "2+cpu"): None}))
    return plan_of(project, lock, ("alpha=1",))


GPUS = dataclasses.replace(
    OUTCOME,
    facts=OUTCOME.facts
    | gpu_facts(
        Granted(
            count=2,
            devices=tuple(
                Gpu(
                    uuid=f"GPU-{number}",
                    model="NVIDIA H100 80GB HBM3",
                    memory=85520809984,
                    capability="9.0",
                )
                for number in range(2)
            ),
            driver=Driver(version="580.95.05", cuda="13.0"),
        )
    ),
)


def constant(plan: RunPlan, outcome: Outcome = OUTCOME) -> bytes:
    """The record with what may differ between machines and versions made constant."""
    plan = dataclasses.replace(
        plan,
        lock_bytes=b"a lock\n",
        code=dataclasses.replace(plan.code, commit="c" * 40, dirty=True),
    )
    value = canonical.loads(make_record(plan, outcome, MODEL, BYPRODUCTS))
    version = value["predicate"]["runDetails"]["builder"]["version"]
    assert version == {"mllock": __version__}
    version["mllock"] = "0"
    for part in value["predicate"]["buildDefinition"]["resolvedDependencies"]:
        if part["uri"].startswith("pkg:pypi/"):
            part["digest"]["sha256"] = "0" * 64  # a zip's bytes follow the machine's zlib
        if part["name"] == "mlproject.lock":
            part["annotations"]["content-digest"] = "sha256:" + "0" * 64
    return canonical.dumps(value)


def test_golden(plan: RunPlan, golden: Callable[[Path, bytes], None]) -> None:
    golden(GOLDEN, constant(plan))


def test_golden_of_a_run_with_gpus(plan: RunPlan, golden: Callable[[Path, bytes], None]) -> None:
    payload = constant(plan, GPUS)
    golden(GOLDEN.with_name("record-gpus.json"), payload)
    assert read_record(payload).facts == GPUS.facts


def test_what_goes_in_comes_back(plan: RunPlan) -> None:
    payload = make_record(plan, OUTCOME, MODEL, BYPRODUCTS)
    base, debs, wheels = lock_materials(plan.lock)
    assert read_record(payload) == Record(
        digest=sha256_of(payload),
        run_id="20261123-081501-k3f9",
        mllock=__version__,
        started="2026-11-23T08:15:01Z",
        finished="2026-11-23T08:15:09Z",
        project="tiny",
        version="1.2.3",
        command=("python", "train.py", "--alpha", "1.0"),
        params={"alpha": 1.0, "seed": 42},
        model_path="model",
        runtime="host",
        network=False,
        model=MODEL.digest,
        model_files={
            "model/model.joblib": sha256_of(b"weights"),
            "model/sub/features.json": sha256_of(b"{}"),
        },
        lock=sha256_of(plan.lock_bytes),
        lock_content=Digest(plan.lock.content_digest),
        environment=canonical.digest_of(ENVIRONMENT),
        environment_document=ENVIRONMENT,
        facts={"cpu": {"machine": "x86_64"}},
        wheels_locked=2,
        wheels_verified=2,
        code=plan.code.manifest.digest,
        commit=None,
        dirty=None,
        data={"train": plan.data["train"].digest},
        base=base,
        debs=debs,
        wheels=wheels,
        byproducts=BYPRODUCTS,
    )
    assert [material.uri for material in (*base, *debs, *wheels)] == [
        "mllock:base/bookworm",
        "pkg:deb/debian/libc6@1:2.36-9%2Bdeb12u9?arch=amd64",
        "pkg:pypi/tiny-lib@1.0",
        "pkg:pypi/z@2%2Bcpu",
    ]
    assert [material.name for material in debs] == ["libc6_2.36-9+deb12u9_amd64.deb"]


def test_the_same_run_gives_the_same_bytes(plan: RunPlan) -> None:
    turned = dict(reversed(BYPRODUCTS.items()))
    assert make_record(plan, OUTCOME, MODEL, BYPRODUCTS) == make_record(
        plan, OUTCOME, MODEL, turned
    )


def test_a_single_file_has_its_own_name(plan: RunPlan) -> None:
    train = plan.spec.train
    assert train is not None
    import msgspec

    spec = msgspec.structs.replace(
        plan.spec, train=msgspec.structs.replace(train, model="out/m.bin")
    )
    model = TreeManifest.of([entry(".", b"w")])
    record = read_record(
        make_record(dataclasses.replace(plan, spec=spec), OUTCOME, model, BYPRODUCTS)
    )
    assert record.model == model.digest
    assert record.model_files == {"model/m.bin": sha256_of(b"w")}


Document = Any
DEPENDENCIES = ("predicate", "buildDefinition", "resolvedDependencies")


def at(document: Document, *path: Any) -> Document:
    for part in path:
        document = document[part]
    return document


def put(value: Any, *path: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        at(document, *path[:-1])[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        del at(document, *path[:-1])[path[-1]]

    return change


def swap_dependencies(document: Document) -> None:
    parts = at(document, *DEPENDENCIES)
    parts[3], parts[4] = parts[4], parts[3]


def repeat_dependency(document: Document) -> None:
    at(document, *DEPENDENCIES).append(at(document, *DEPENDENCIES)[-1])


def swap_subjects(document: Document) -> None:
    document["subject"].reverse()


def repeat_byproduct(document: Document) -> None:
    at(document, "predicate", "runDetails", "byproducts").extend(
        at(document, "predicate", "runDetails", "byproducts")
    )


EXTERNAL = ("predicate", "buildDefinition", "externalParameters")
INTERNAL = ("predicate", "buildDefinition", "internalParameters")
METADATA = ("predicate", "runDetails", "metadata")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("subject", 0), "the first subject is not model.manifest"),
        (swap_subjects, "the first subject is not model.manifest"),
        (put("other/x", "subject", 1, "name"), "a subject is not a file of the model"),
        (put("x", *INTERNAL, "environment", "os"), "the environment digest is not that of the"),
        (swap_dependencies, "a dependency of an unknown kind, or not in order"),
        (repeat_dependency, "two dependencies have one name"),
        (drop(*DEPENDENCIES, 0), "not a record: Object missing required field `annotations`"),
        (drop(*DEPENDENCIES, 1), "not a record: "),
        (put([], *DEPENDENCIES), "lock, environment or code is missing"),
        (put("mllock:x", *DEPENDENCIES, 1, "uri"), "environment is missing or not in its place"),
        (
            put("pkg:npm/x", *DEPENDENCIES, 4, "uri"),
            "a dependency of an unknown kind, or not in order",
        ),
        (
            put("other", *DEPENDENCIES, 3, "name"),
            "a dependency has another name than its URI",
        ),
        (repeat_byproduct, "two byproducts have one name"),
        (put(1, *EXTERNAL, "more"), "not a record: Object contains unknown field `more`"),
        (drop(*EXTERNAL, "network"), "not a record: Object missing required field `network`"),
        (put([1], *EXTERNAL, "params", "alpha"), "not a record: Expected `bool | int | float | s"),
        (put("today", *METADATA, "startedOn"), "not a record: Expected `str` matching regex"),
        (put("../x", *METADATA, "invocationId"), "not a record: Expected `str` matching regex"),
        (
            put("https://example.org/ci", "predicate", "runDetails", "builder", "id"),
            "not a record: Invalid enum value 'https://example.org/ci'",
        ),
        (
            put("urn:other", "predicate", "buildDefinition", "buildType"),
            "not a record: Invalid enum value 'urn:other'",
        ),
        (put("https://slsa.dev/provenance/v2", "predicateType"), "a statement about something el"),
    ],
)
def test_mutated_twins_of_the_golden_do_not_read(
    change: Callable[[Document], None], message: str
) -> None:
    document = json.loads(GOLDEN.read_bytes())
    read_record(canonical.dumps(document))
    change(document)
    with pytest.raises(RunError) as caught:
        read_record(canonical.dumps(document))
    assert caught.value.message.startswith(message)


GOLDEN_SIZE = GOLDEN.stat().st_size if GOLDEN.exists() else 1


@given(st.integers(0, GOLDEN_SIZE - 1), st.integers(1, 255))
def test_a_changed_byte_never_reads_as_the_same_record(position: int, change: int) -> None:
    mutated = bytearray(GOLDEN.read_bytes())
    mutated[position] ^= change
    try:
        found = read_record(bytes(mutated))
    except RunError:
        return
    assert found != read_record(GOLDEN.read_bytes())
    original = dataclasses.replace(found, digest=read_record(GOLDEN.read_bytes()).digest)
    assert original != read_record(GOLDEN.read_bytes())
