"""Files of arrays as their own libraries write them; safetensors by its specification."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np

NAMES = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "<i8": "I64", "|u1": "U8", "|b1": "BOOL"}


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def npz(*, compressed: bool = True, **arrays: Any) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


def safetensors(**arrays: Any) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    data = b""
    for name, array in arrays.items():
        end = len(data) + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype.str],
            "shape": list(array.shape),
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    return with_header(header, data)


def with_header(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
