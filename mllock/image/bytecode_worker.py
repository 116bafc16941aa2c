"""The program that the image's own Python runs: sources in, bytecode out, until its input ends.

It is given to that interpreter as text and is never imported here. So it keeps to what Python 3.8
has, and to modules that are part of the interpreter itself. Nothing of a source is executed.

Spoken over standard input and output, numbers little-endian. First, it says who it is, in one line:
version, cache tag, magic number (hex), whether hashes of strings are random (0 or 1). Then, for
each batch (its length in 8 bytes; then, for each source: length of the path and of the source in 4
bytes each, path, source) it answers with one (its length in 8 bytes; then, for each source: 1 or 0,
length in 4 bytes, the bytecode, or why there is none). A batch is read whole before the first
answer is written, and so it is on the other side: neither waits for the other.
"""

import _imp
import gc
import marshal
import sys
from _frozen_importlib_external import MAGIC_NUMBER

# PEP 552: bit 0 says that a hash follows and no time; bit 1 would have it compared at each import.
UNCHECKED_HASH = (1).to_bytes(4, "little")
# The last version of marshal without references between objects: what they are depends on how
# often an object happened to be used in this process.
MARSHAL = 2


def bytecode(path: str, source: bytes) -> bytes:
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    digest = _imp.source_hash(int.from_bytes(MAGIC_NUMBER, "little"), source)
    return MAGIC_NUMBER + UNCHECKED_HASH + digest + marshal.dumps(code, MARSHAL)


def answer(batch: bytes) -> bytes:
    parts = []
    at = 0
    while at < len(batch):
        name, size = (int.from_bytes(batch[at + n : at + n + 4], "little") for n in (0, 4))
        path = batch[at + 8 : at + 8 + name].decode()
        source = batch[at + 8 + name : at + 8 + name + size]
        at += 8 + name + size
        try:
            data = bytecode(path, source)
            good = b"\1"
        except Exception as error:  # noqa: BLE001 -- whatever a source does to the compiler
            data = ascii(f"{type(error).__name__}: {error}")[1:-1][:300].encode()
            good = b"\0"
        parts += [good, len(data).to_bytes(4, "little"), data]
    return b"".join(parts)


def main() -> None:
    # Code objects form no cycles: a quarter of the time goes into looking for some.
    gc.disable()
    version = ".".join(str(number) for number in sys.version_info[:3])
    tag, seed = sys.implementation.cache_tag, sys.flags.hash_randomization
    output = sys.stdout.buffer
    output.write(f"{version} {tag} {MAGIC_NUMBER.hex()} {seed}\n".encode())
    output.flush()
    while True:
        length = sys.stdin.buffer.read(8)
        if len(length) < 8:
            return
        data = answer(sys.stdin.buffer.read(int.from_bytes(length, "little")))
        output.write(len(data).to_bytes(8, "little") + data)
        output.flush()


if __name__ == "__main__":
    main()
