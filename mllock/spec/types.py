"""The types of mlproject.toml, in the order of docs/reference/mlproject-toml.md.

These records are the one definition of the format: the reader decodes into them, the JSON Schema
is generated from them, the reference lists them. A record holds what the file says, unresolved;
what needs more than one key or a look at the disk is checked in `mllock.spec.reader`. Keys are
written in kebab-case. Absent is None, or the documented default.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "Accepted",
    "Builder",
    "ColumnsGate",
    "DataSource",
    "DriftGate",
    "Environment",
    "Evaluate",
    "Gates",
    "Index",
    "LeakageGate",
    "MetricGate",
    "NoWorseGate",
    "Overlap",
    "Project",
    "Scalar",
    "Serve",
    "SlicesGate",
    "Spec",
    "Train",
]

Scalar = str | int | float | bool

NonEmpty = Annotated[str, Meta(min_length=1)]
# PEP 503: what a normalised name looks like.
ProjectName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*(?![\s\S])",
        description="PEP 503-normalised: lower-case letters, digits and single hyphens",
    ),
]
PythonVersion = Annotated[
    str,
    Meta(pattern=r"^3\.[0-9]{1,2}(?![\s\S])", description='a Python minor version, e.g. "3.11"'),
]
# Debian Policy 5.6.1.
DebianName = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]+(?![\s\S])", description="a Debian package name")
]
# `(?![\s\S])` is the end of the text in every dialect; Python takes `$` before a last line end too.
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(?![\s\S])")]
SourceName = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_-]*(?![\s\S])", description="the name of a data source")
]
Url = Annotated[str, Meta(pattern=r"^(https?|file)://.+(?![\s\S])")]
Timestamp = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z(?![\s\S])")
]
PlatformName = Literal["linux/amd64", "linux/arm64"]
Port = Annotated[int, Meta(ge=1, le=65535)]
Memory = Annotated[str, Meta(pattern=r"^[1-9][0-9]*(KiB|MiB|GiB|TiB)(?![\s\S])")]
Command = Annotated[tuple[NonEmpty, ...], Meta(min_length=1)]
Severity = Literal["block", "warn"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A TOML table: unknown keys are errors."""


class Project(_Table, frozen=True, kw_only=True):
    name: ProjectName
    version: NonEmpty = "0.0.0"
    description: str = ""


class Index(_Table, frozen=True, kw_only=True):
    """A package index beside the default one. Credentials are never stored."""

    name: ProjectName
    url: Url
    packages: tuple[NonEmpty, ...] = ()


class Overlap(_Table, frozen=True, kw_only=True):
    """The way out when two wheels write one file with different bytes."""

    path: NonEmpty
    keep: NonEmpty


class Environment(_Table, frozen=True, kw_only=True):
    """What both images have in common."""

    python: PythonVersion
    base: NonEmpty = "debian:bookworm"
    debian_mirror: NonEmpty | None = None
    dependencies: tuple[NonEmpty, ...] = ()
    requirements: tuple[NonEmpty, ...] = ()
    constraints: tuple[NonEmpty, ...] = ()
    system_packages: tuple[DebianName, ...] = ()
    platforms: Annotated[tuple[PlatformName, ...], Meta(min_length=1)] = ("linux/amd64",)
    resolver: Literal["pip-tools", "uv"] = "pip-tools"
    exclude_newer: Timestamp | None = None
    bytecode: bool = False
    overlaps: tuple[Overlap, ...] = ()
    variables: dict[VariableName, str] = {}
    indexes: tuple[Index, ...] = ()
    find_links: tuple[NonEmpty, ...] = ()
    builds: tuple[NonEmpty, ...] = ()


class DataSource(_Table, frozen=True, kw_only=True):
    """One data source. `path` is where the program finds it; default: `source`."""

    source: NonEmpty
    role: Literal["train", "validation", "test", "reference"] = "train"
    include: Annotated[tuple[NonEmpty, ...], Meta(min_length=1)] = ("**/*",)
    exclude: tuple[NonEmpty, ...] = ()
    path: NonEmpty | None = None
    label: NonEmpty | None = None
    key: tuple[NonEmpty, ...] = ()
    group: tuple[NonEmpty, ...] = ()
    time: NonEmpty | None = None


class Train(_Table, frozen=True, kw_only=True):
    command: Command
    code: tuple[NonEmpty, ...] | None = None
    model: NonEmpty
    metrics: NonEmpty | None = None
    params: dict[VariableName, Scalar] = {}
    network: bool = False
    gpus: Annotated[int, Meta(ge=0)] = 0
    memory: Memory | None = None


class Evaluate(_Table, frozen=True, kw_only=True):
    command: Command
    metrics: NonEmpty
    predictions: NonEmpty | None = None
    positive: Scalar | None = None


class Serve(_Table, frozen=True, kw_only=True):
    command: Command
    code: tuple[NonEmpty, ...] | None = None
    port: Port = 8080
    health: Annotated[str, Meta(pattern=r"^/.*(?![\s\S])")] | None = None
    probes: NonEmpty | None = None
    runtime_variables: tuple[VariableName, ...] = ()


class MetricGate(_Table, frozen=True, kw_only=True):
    """A condition on a metric, of one test source or of all."""

    that: NonEmpty
    source: SourceName | None = None
    severity: Severity = "block"


class NoWorseGate(_Table, frozen=True, kw_only=True):
    """No metric worse than that of a released run. Without `metrics`: those of the conditions."""

    than: NonEmpty = "released"
    metrics: tuple[NonEmpty, ...] = ()
    tolerance: Annotated[float, Meta(ge=0)] = 0.0
    severity: Severity = "block"


class LeakageGate(_Table, frozen=True, kw_only=True):
    """Nothing of one split in another, no future in the past, no label among the features."""

    between: tuple[SourceName, ...] = ()
    ignore: tuple[NonEmpty, ...] = ()
    max_shared: Annotated[float, Meta(ge=0, le=1)] = 0.0
    max_predictive_power: Annotated[float, Meta(gt=0, le=1)] = 0.98
    severity: Severity = "block"


class ColumnsGate(_Table, frozen=True, kw_only=True):
    """No column that says nothing: constant, or missing in every row."""

    ignore: tuple[NonEmpty, ...] = ()
    severity: Severity = "warn"


class DriftGate(_Table, frozen=True, kw_only=True):
    """Label, named columns and missing values are distributed alike in splits and references."""

    columns: tuple[NonEmpty, ...] = ()
    max_psi: Annotated[float, Meta(gt=0)] = 0.25
    max_jensen_shannon: Annotated[float, Meta(gt=0, le=1)] = 0.1
    max_missing: Annotated[float, Meta(gt=0, le=1)] = 0.1
    severity: Severity = "warn"


class SlicesGate(_Table, frozen=True, kw_only=True):
    """No part of the data served worse than another, as far as there are rows to tell."""

    by: Annotated[tuple[NonEmpty, ...], Meta(min_length=1)]
    metric: NonEmpty
    max_difference: Annotated[float, Meta(ge=0)] | None = None
    min_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_rows: Annotated[int, Meta(ge=1)] = 30
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    intersections: bool = True
    severity: Severity = "block"


class Accepted(_Table, frozen=True, kw_only=True):
    """An exception to a gate, which ends."""

    gate: NonEmpty
    until: dt.date
    reason: NonEmpty


class Gates(_Table, frozen=True, kw_only=True):
    """What must hold for a run to be releasable. A gate that is not declared is not enforced."""

    metrics: tuple[NonEmpty | MetricGate, ...] = ()
    no_worse_than: NonEmpty | NoWorseGate | None = None
    accept: tuple[Accepted, ...] = ()
    leakage: LeakageGate | None = None
    columns: ColumnsGate | None = None
    drift: DriftGate | None = None
    slices: SlicesGate | tuple[SlicesGate, ...] | None = None


class Builder(_Table, frozen=True, kw_only=True):
    kind: Literal["native", "docker"] = "native"
    layers: Annotated[int, Meta(ge=7, le=120)] = 60


class Spec(_Table, frozen=True, kw_only=True):
    """A whole mlproject.toml."""

    project: Project
    environment: Environment
    data: dict[SourceName, DataSource] = {}
    train: Train | None = None
    evaluate: Evaluate | None = None
    serve: Serve | None = None
    gates: Gates | None = None
    builder: Builder = Builder()
