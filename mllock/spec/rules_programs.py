"""Rules for [train], [evaluate], [serve] and the variables of both images."""

from __future__ import annotations

import re

from mllock.core import safepath
from mllock.spec import hints
from mllock.spec.command import PARAMS_FILE, placeholders
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import Part

__all__ = ["check_programs", "check_variables", "hook_reason"]

_LOADER = "it makes the loader run other code than the locked one"
_PYTHON = "it makes Python run or import other code than the locked one"
_MLLOCK = "mllock sets it"
_HOOKS = {
    "GLIBC_TUNABLES": _LOADER,
    "GCONV_PATH": _LOADER,
    "LOCPATH": _LOADER,
    "NLSPATH": _LOADER,
    "OPENSSL_CONF": "it makes OpenSSL load other code than the locked one",
    "OPENSSL_ENGINES": "it makes OpenSSL load other code than the locked one",
    "OPENSSL_MODULES": "it makes OpenSSL load other code than the locked one",
    "BASH_ENV": "it makes the shell run other code",
    "ENV": "it makes the shell run other code",
    "PATH": _MLLOCK,
    "HOME": _MLLOCK,
    "VIRTUAL_ENV": _MLLOCK,
}
# Variables of Python's that change how it runs, and not what it runs.
_PYTHON_HARMLESS = frozenset(
    {
        "PYTHONASYNCIODEBUG",
        "PYTHONCOERCECLOCALE",
        "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONINTMAXSTRDIGITS",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONNOUSERSITE",
        "PYTHONOPTIMIZE",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONSAFEPATH",
        "PYTHONTRACEMALLOC",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
        "PYTHONVERBOSE",
    }
)


def hook_reason(name: str, value: str = "") -> str | None:
    """Why a variable of this name cannot be set by a spec or at deployment, or None. A `value` of
    PYTHONPATH that names folders of the project can be set by a spec."""
    if name == "PYTHONPATH" and value and all(map(_is_own, value.split(":"))):
        return None
    if name in _HOOKS:
        return _HOOKS[name]
    if name.startswith("LD_"):
        return _LOADER
    if name.startswith("PYTHON") and name not in _PYTHON_HARMLESS:
        return _PYTHON
    return _MLLOCK if name.startswith("MLLOCK_") else None


def check_variables(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    for name, value in loaded.spec.environment.variables.items():
        if name == "PYTHONPATH":
            _own_packages(loaded, value)
            continue
        _not_a_hook(loaded, name, "environment", "variables", name)


def _own_packages(loaded: LoadedSpec, value: str) -> None:
    """PYTHONPATH may name folders of the project, which are code like any other: the programs run
    in its folder, on the host and in the images, so that a relative path is the same one."""
    for part in value.split(":"):
        if not _is_own(part):
            raise loaded.error(
                "not a folder of the project: it makes Python import other code than the declared",
                *("environment", "variables", "PYTHONPATH"),
                expected='folders relative to the spec, e.g. PYTHONPATH = "src"',
                found=f'"{value}"',
            )


def _is_own(folder: str) -> bool:
    return safepath.problem(folder) is None and not folder.startswith("~")


def check_programs(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    spec = loaded.spec
    if spec.train is not None:
        for index, word in enumerate(spec.train.command):
            _placeholders(loaded, index, word, tuple(spec.train.params))
    for table in ("evaluate", "serve"):
        program = getattr(spec, table)
        if program is None:
            continue
        if spec.train is None:
            raise loaded.error(
                "there is no [train]", table, hint=f"[{table}] reads the model that [train] writes"
            )
        for index, word in enumerate(program.command):
            for placeholder in placeholders(word):
                raise loaded.error(
                    f"{{{placeholder}}} is only replaced in train.command",
                    table,
                    "command",
                    index,
                    hint="write the value, or keep it in the model",
                )
    if spec.evaluate is not None and not any(s.role == "test" for s in spec.data.values()):
        raise loaded.error(
            'there is no data source with role "test"',
            "evaluate",
            hint='add role = "test" to the data that the model is judged by',
        )
    if spec.evaluate is not None and spec.evaluate.predictions is not None:
        predictions = spec.evaluate.predictions
        if not predictions.endswith((".csv", ".parquet")):
            raise loaded.error(
                "not a format of predictions",
                "evaluate",
                "predictions",
                expected="a name that ends with .csv or .parquet",
                found=f'"{predictions}"',
            )
    if spec.serve is not None:
        _runtime_variables(loaded, spec.serve.runtime_variables)


def _placeholders(loaded: LoadedSpec, index: int, word: str, params: tuple[str, ...]) -> None:
    for placeholder in placeholders(word):
        name = placeholder.removeprefix("params.")
        if placeholder != PARAMS_FILE and name not in params:
            near = hints.near(name, params)
            known = ", ".join(params) or "none is declared"
            raise loaded.error(
                f"{{{placeholder}}} is not in train.params",
                "train",
                "command",
                index,
                expected=known,
                hint=f'did you mean "{{params.{near}}}"?' if near else None,
            )
    slip = re.search(r"\{(param\.[^{}]*|params\[[^{}]*|params?|params-file|params\.file)\}", word)
    if slip:
        raise loaded.error(
            f"unknown placeholder {slip[0]}",
            "train",
            "command",
            index,
            expected="{params.NAME} or {params_file}",
        )


def _runtime_variables(loaded: LoadedSpec, names: tuple[str, ...]) -> None:
    for index, name in enumerate(names):
        parts: tuple[Part, ...] = ("serve", "runtime-variables", index)
        _not_a_hook(loaded, name, *parts)
        if name in loaded.spec.environment.variables:
            raise loaded.error(
                f"{name} is set in environment.variables",
                *parts,
                hint="a variable is either part of the environment or free at deployment",
            )
        if name in names[:index]:
            raise loaded.error("listed twice", *parts, found=f'"{name}"')


def _not_a_hook(loaded: LoadedSpec, name: str, *parts: Part) -> None:
    reason = hook_reason(name)
    if reason is not None:
        raise loaded.error(f"{name} cannot be set: {reason}", *parts, hint="leave it out")
