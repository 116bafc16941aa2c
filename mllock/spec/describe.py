"""One sentence for each key of mlproject.toml, for the JSON Schema and so for editors.

Beside the types and not in them, so that the types can be read at a glance; a test finds keys
without a sentence and sentences without a key. Keys are `Record.key`, as `mllock.spec.types` names
the record and the file writes the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["DESCRIPTIONS"]

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "Project.name": "Names images and runs.",
        "Project.version": "The version of the project, as you count it.",
        "Project.description": "One line about the project.",
        "Index.name": "What errors call the index.",
        "Index.url": (
            "The simple repository API (PEP 503). Credentials come from netrc, or as "
            "${NAME} from the environment."
        ),
        "Index.packages": (
            "The packages that are looked for here, and nowhere else; none: all that have no other "
            "index may come from here too."
        ),
        "Overlap.path": "A pattern of paths in site-packages, or in the environment (bin/tool).",
        "Overlap.keep": "The package whose file is kept.",
        "Environment.python": "The Python of both images, which is the base's own.",
        "Environment.base": (
            '"debian:SUITE", assembled from signed Debian packages; "HOST/REPO:TAG" (or '
            '"@sha256:...") of an image; or "oci:DIR", an OCI layout in the project.'
        ),
        "Environment.debian-mirror": (
            "Where Debian packages are fetched from; default: MLLOCK_DEBIAN_MIRROR, else "
            "this machine's apt sources."
        ),
        "Environment.dependencies": "Python packages, as PEP 508 requirements.",
        "Environment.requirements": "Files with more requirements.",
        "Environment.constraints": "Files with limits for packages that other packages need.",
        "Environment.system-packages": "Debian packages, by name.",
        "Environment.platforms": "What the images are for; not the machine you sit at.",
        "Environment.resolver": "What chooses the versions of Python packages.",
        "Environment.exclude-newer": (
            "Leave out files that came into their index at this time, in UTC, or later."
        ),
        "Environment.bytecode": "Ship compiled Python files, for fast starts.",
        "Environment.overlaps": "Which wheel wins where two write one file with different bytes.",
        "Environment.variables": "Environment variables of both images.",
        "Environment.indexes": "Package indexes beside the default one.",
        "Environment.find-links": (
            "Folders of the project, and pages, whose wheels count as those of an index."
        ),
        "Environment.builds": (
            "Packages that are built by mllock lock from the sources that their URL names: their "
            "own code runs."
        ),
        "DataSource.source": "A file or folder of the project, or a URL.",
        "DataSource.role": "What the data is for.",
        "DataSource.include": "Patterns of the files of a folder that count.",
        "DataSource.exclude": "Patterns of the files of a folder that do not count.",
        "DataSource.path": (
            "Where the program finds the data, relative to the project; default: source."
        ),
        "DataSource.label": "The column with the truth.",
        "DataSource.key": "The columns that identify a row.",
        "DataSource.group": "The columns that name what rows belong together.",
        "DataSource.time": "The column that says when a row was observed.",
        "Train.command": "The training program; {params.NAME} and {params_file} are replaced.",
        "Train.code": (
            "Patterns of the files that the program sees; default: what git tracks, less "
            "the data and .mllockignore."
        ),
        "Train.model": "The file or folder that the program writes.",
        "Train.metrics": "A JSON object of numbers that the program writes.",
        "Train.params": "Parameters, also in the JSON file that MLLOCK_PARAMS names.",
        "Train.network": "Whether the program may use the network.",
        "Train.gpus": "How many GPUs the program needs.",
        "Train.memory": "How much memory the program may use.",
        "Evaluate.command": 'The evaluation program, run once for each source with role "test".',
        "Evaluate.metrics": "A JSON object of numbers that the program writes.",
        "Evaluate.predictions": "A CSV or Parquet file of predictions that the program writes.",
        "Evaluate.positive": "The label that metrics of two classes count as positive; default: 1.",
        "Serve.command": "The serving program; {port} is replaced.",
        "Serve.code": "Patterns of the files of the serving program; default: those of [train].",
        "Serve.port": "The port that the program listens on.",
        "Serve.health": "The path that answers when the program is ready.",
        "Serve.probes": (
            "Requests whose answers are recorded after the training, and compared by check."
        ),
        "Serve.runtime-variables": (
            "Variables that may be set at deployment; they are outside of the proof."
        ),
        "MetricGate.that": 'A condition, e.g. "recall >= 0.8".',
        "MetricGate.source": "The test source it is about; default: every one.",
        "MetricGate.severity": "Whether a finding stops a release.",
        "NoWorseGate.than": '"released": the run that is released; or the name of a stage.',
        "NoWorseGate.metrics": "The metrics that are compared; default: those of the conditions.",
        "NoWorseGate.tolerance": "How much worse a metric may be.",
        "NoWorseGate.severity": "Whether a finding stops a release.",
        "LeakageGate.between": (
            "The data sources that may share no row, key or group; default: all with the role "
            "train, validation or test."
        ),
        "LeakageGate.ignore": "Columns that do not count, as a row number that an export adds.",
        "LeakageGate.max-shared": "The part of a split's rows that may be in an earlier one.",
        "LeakageGate.max-predictive-power": (
            "How well one feature alone may predict the label, from 0 (not at all) to 1."
        ),
        "LeakageGate.severity": "Whether a finding stops training and release.",
        "ColumnsGate.ignore": "Columns that may be constant or missing.",
        "ColumnsGate.severity": "Whether a finding stops training and release.",
        "DriftGate.columns": "Columns that are compared beside the label.",
        "DriftGate.max-psi": "The largest population stability index.",
        "DriftGate.max-jensen-shannon": "The largest Jensen-Shannon distance, base 2.",
        "DriftGate.max-missing": "The largest difference in the part of values that are missing.",
        "DriftGate.severity": "Whether a finding stops training and release.",
        "SlicesGate.by": "The columns whose values make the slices.",
        "SlicesGate.metric": "The metric that is compared.",
        "SlicesGate.max-difference": "The largest difference between two slices.",
        "SlicesGate.min-ratio": "The smallest ratio of the worst slice to the best.",
        "SlicesGate.min-rows": "A slice with fewer rows is not judged.",
        "SlicesGate.confidence": "How sure it has to be that a limit is crossed.",
        "SlicesGate.intersections": "Whether values of all columns together make slices as well.",
        "SlicesGate.severity": "Whether a finding stops a release.",
        "Accepted.gate": "The gate that may fail.",
        "Accepted.until": "The last day of the exception.",
        "Accepted.reason": "Why, for those who come later.",
        "Gates.metrics": 'Conditions, e.g. "accuracy >= 0.9".',
        "Gates.no-worse-than": '"released" or a stage: the run that is the measure.',
        "Gates.accept": "Exceptions, each with a reason and an end.",
        "Gates.leakage": "No data of one split in another.",
        "Gates.columns": "No column that says nothing.",
        "Gates.drift": "Splits and references that are distributed alike.",
        "Gates.slices": "No part of the data served worse than another.",
        "Builder.kind": (
            "native: bit-identical layers, no engine; docker: a container engine installs the "
            "Python packages with pip, from a Dockerfile: pinned, not bit-identical."
        ),
        "Builder.layers": "At most so many layers in an image, 7 to 120: base, system packages, "
        "Python packages, bytecode, code, model and record have one each, what is left is for "
        "large Python packages. Engines take 127.",
        "Spec.project": "What the project is called.",
        "Spec.environment": "What both images have in common.",
        "Spec.data": "One table for each data source.",
        "Spec.train": "The training program.",
        "Spec.evaluate": "The evaluation program.",
        "Spec.serve": "The serving program.",
        "Spec.gates": "What must hold for a run to be releasable.",
        "Spec.builder": "How images are made.",
    }
)
