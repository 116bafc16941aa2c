"""What NVIDIA's driver says of this machine's GPUs: a program of its own, run by `nvidia.py`.

The driver's library can crash, hang and print, and that must cost mllock one message at most: so it
is loaded in a process that does nothing else. This file imports nothing of mllock's. It writes one
JSON object: `missing` (the loader's words), or `lacks` (a function that old drivers do not have),
or `code`, `call` and `said` of the first call that failed, or `driver`, `cuda` and `gpus`. What the
library prints goes nowhere. Values are as the library gave them, and are read by who asked.
Source: NVML API reference, https://docs.nvidia.com/deploy/nvml-api.
"""

from __future__ import annotations

import ctypes
import json
import os
from ctypes import byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p, create_string_buffer
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
# NVML_DEVICE_UUID_V2_BUFFER_SIZE, NVML_DEVICE_NAME_V2_BUFFER_SIZE and others: 80 to 96.
_TEXT = 96
# nvmlReturn_t
_NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND = 3, 4, 6
# No machine has that many: a count beyond it is nonsense, and would be asked for one by one.
_MOST = 1024


class _Memory(ctypes.Structure):
    """nvmlMemory_t"""

    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class _FailedError(Exception):
    def __init__(self, call: str, code: int) -> None:
        super().__init__(call, code)
        self.call, self.code = call, code


class _Library:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, name: str, *arguments: Any, fine: tuple[int, ...] = ()) -> int:
        """The code of a call, which is 0 or one of `fine`; what old drivers lack is an
        AttributeError."""
        function = getattr(self._library, name)
        function.restype = c_int
        code = int(function(*arguments))
        if code != 0 and code not in fine:
            raise _FailedError(name, code)
        return code

    def text(self, name: str, *arguments: Any) -> str:
        buffer = create_string_buffer(_TEXT)
        self.call(name, *arguments, buffer, c_uint(_TEXT))
        return buffer.raw.partition(b"\0")[0].decode("utf-8", errors="replace")

    def number(self, name: str, *arguments: Any) -> int:
        number = c_uint()
        self.call(name, *arguments, byref(number))
        return number.value

    def said(self, code: int) -> str:
        try:
            function = self._library.nvmlErrorString
        except AttributeError:
            return ""
        function.restype = c_char_p
        return (function(c_int(code)) or b"").decode("utf-8", errors="replace")


def _ask(library: _Library) -> dict[str, Any]:
    library.call("nvmlInit_v2")
    cuda = c_int()
    library.call("nvmlSystemGetCudaDriverVersion_v2", byref(cuda))
    count = library.number("nvmlDeviceGetCount_v2")
    found = (_device(library, index) for index in range(0 if count > _MOST else count))
    return {
        "driver": library.text("nvmlSystemGetDriverVersion"),
        "cuda": cuda.value,
        "gpus": count if count > _MOST else [device for device in found if device is not None],
    }


def _device(library: _Library, index: int) -> dict[str, Any] | None:
    """None for one that this process may not use: CUDA does not see it either."""
    device = c_void_p()
    if library.call(
        "nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(device), fine=(_NO_PERMISSION,)
    ):
        return None
    major, minor = c_int(), c_int()
    library.call("nvmlDeviceGetCudaComputeCapability", device, byref(major), byref(minor))
    capability = f"{major.value}.{minor.value}"
    parts = _parts(library, device)
    return {
        **_described(library, device, capability),
        "parts": None
        if parts is None
        else [_described(library, part, capability) for part in parts],
    }


def _described(library: _Library, device: c_void_p, capability: str) -> dict[str, Any]:
    memory = _Memory()
    # GPUs that share the processor's memory have none to tell of.
    asked = ("nvmlDeviceGetMemoryInfo", device, byref(memory))
    has_own = library.call(*asked, fine=(_NOT_SUPPORTED,)) == 0
    return {
        "uuid": library.text("nvmlDeviceGetUUID", device),
        "model": library.text("nvmlDeviceGetName", device),
        "memory": memory.total if has_own else None,
        "capability": capability,
    }


def _parts(library: _Library, device: c_void_p) -> list[c_void_p] | None:
    """The MIG devices of a GPU in MIG mode, which is no device of its own then; else None."""
    now, pending = c_uint(), c_uint()
    try:
        asked = ("nvmlDeviceGetMigMode", device, byref(now), byref(pending))
        if library.call(*asked, fine=(_NOT_SUPPORTED,)) or now.value == 0:
            return None
    except AttributeError:  # a driver from before MIG
        return None
    parts = []
    for index in range(min(library.number("nvmlDeviceGetMaxMigDeviceCount", device), _MOST)):
        part = c_void_p()
        asked_for = ("nvmlDeviceGetMigDeviceHandleByIndex", device, c_uint(index), byref(part))
        if library.call(*asked_for, fine=(_NOT_FOUND,)) == 0:
            parts.append(part)
    return parts


def _main() -> None:
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        library = _Library(ctypes.CDLL(LIBRARY))
    except OSError as error:
        said: dict[str, Any] = {"missing": str(error)}
    else:
        try:
            said = _ask(library)
        except _FailedError as error:
            said = {"code": error.code, "call": error.call, "said": library.said(error.code)}
        except AttributeError as error:
            said = {"lacks": str(error)}
    with os.fdopen(answer, "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    _main()
