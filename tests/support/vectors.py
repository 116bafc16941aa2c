"""The vector of bytecode in docs/reference/builder-format.md."""

from __future__ import annotations

VECTOR = b"""def greet(name, *, mark="!"):
    if name in {"nobody", "none"}:
        return None
    return f"hello {name}{mark}"
"""
VECTOR_PYC = "sha256:39864dec2309eeb0e9434274e53f5b3b0071a31d3f7ddd70503f4467a7bbbc7e"
VECTOR_DIFF_ID = "sha256:10593d6a07460ff82cf4ca2c85fb0201037dc99c8d7c64f85e8ddfa7d1592237"
VECTOR_DIGEST = "sha256:0863b1aeb6fb478c95cb74e6b26fc4eac9b2f8e266d8d7e7a8ee1ac4253932d7"
