"""The small files that mllock gives a program, and the variables that name them.

The params of the run, and for an evaluation which test source it is asked about. They lie in
`.mllock`, which is never code or data. Values only; specified in docs/reference/mlproject-toml.md.
"""

from __future__ import annotations

import json

from mllock.spec.types import DataSource
from mllock.train.plan import PARAMS_FILE, params_bytes
from mllock.train.types import RunPlan

__all__ = ["DATA_FILE", "data_path", "given_files", "given_variables"]

DATA_FILE = ".mllock/data.json"


def data_path(declared: DataSource) -> str:
    """Where the program finds a source."""
    return declared.path or declared.source


def given_files(plan: RunPlan) -> dict[str, bytes]:
    """By their paths in the folder that the program runs in."""
    files = {PARAMS_FILE: params_bytes(plan.params)}
    if plan.evaluation is not None:
        name = plan.evaluation.source
        value = {"name": name, "path": data_path(plan.spec.data[name])}
        files[DATA_FILE] = (json.dumps(value, ensure_ascii=False) + "\n").encode()
    return files


def given_variables(plan: RunPlan, folder: str) -> dict[str, str]:
    """`folder` is where the program runs, as the program sees it."""
    variables = {"MLLOCK_PARAMS": f"{folder}/{PARAMS_FILE}"}
    if plan.evaluation is not None:
        variables["MLLOCK_DATA"] = f"{folder}/{DATA_FILE}"
    return variables
