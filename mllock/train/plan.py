"""The params of a run: what the spec declares, with `--set` in its place. Values only.

A `--set` is read with the type of the declared value, so that `alpha=1` stays a float where alpha
is one. Placeholders of the command are `mllock.spec.command`'s. Raises InputError.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence

from mllock.errors import InputError
from mllock.spec.types import Scalar

__all__ = ["PARAMS_FILE", "apply_overrides", "params_bytes"]

# Where the program finds its params, from the folder that it runs in: {params_file} and, as an
# absolute path, MLLOCK_PARAMS. `.mllock` is never code or data.
PARAMS_FILE = ".mllock/params.json"

# RFC 8785 and I-JSON: whole numbers beyond this are not the same to every reader.
MAX_SAFE_INTEGER = 2**53 - 1

_BOOLS = {"true": True, "false": False}


def apply_overrides(declared: Mapping[str, Scalar], overrides: Sequence[str]) -> dict[str, Scalar]:
    """The params of a run: `declared`, with `NAME=VALUE` of each `--set` in its place."""
    params = dict(declared)
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f'--set {text}: no "="', expected="--set NAME=VALUE", hint="e.g. --set alpha=0.7"
            )
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            raise InputError(
                f"--set {text}: no param of this name",
                expected=", ".join(declared) or "none: the spec declares no params",
                hint=f'did you mean "{near[0]}"?' if near else "declare it in [train] params",
            )
        params[name] = _typed(text, value, declared[name])
    for name, param in params.items():
        _check(name, param)
    return params


def params_bytes(params: Mapping[str, Scalar]) -> bytes:
    """The params file: sorted JSON; floats stay floats, which canonical JSON would not keep."""
    return (json.dumps(dict(params), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _typed(text: str, value: str, declared: Scalar) -> Scalar:
    wanted = ""
    match declared:
        case bool():
            if value in _BOOLS:
                return _BOOLS[value]
            wanted = "true or false"
        case int():
            if re.fullmatch(r"[+-]?[0-9]{1,40}", value):
                return int(value)
            wanted = f"a whole number, as {declared} is"
        case float():
            if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
                return float(value)
            wanted = f"a number, as {declared} is"
        case str():
            return value
    raise InputError(f"--set {text}: wrong type", expected=wanted, found=value)


def _check(name: str, value: Scalar) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"param {name} is not a finite number", found=str(value))
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise InputError(
            f"param {name} is too large for JSON",
            expected=f"at most {MAX_SAFE_INTEGER}",
            found=str(value),
            hint="write it as a string",
        )
