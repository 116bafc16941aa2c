"""Wheels, the frame and bytecode: what a Python layer holds."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import importlib.util
import io
import marshal
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from support.second_builder.layers import Layer, Member, layer

VENV = "opt/venv"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    package: str
    data: bytes


def wheel_members(wheel: Wheel, python: str) -> list[Member]:
    minor = ".".join(python.split(".")[:2])
    site = f"{VENV}/lib/python{minor}/site-packages"
    found: list[Member] = []
    archive = zipfile.ZipFile(io.BytesIO(wheel.data))
    names = [entry.filename for entry in archive.infolist()]
    info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
    stem = info.removesuffix(".dist-info")
    schemes = {
        "purelib": site,
        "platlib": site,
        "scripts": f"{VENV}/bin",
        "data": VENV,
        "headers": f"{VENV}/include/site/python{minor}/{stem.split('-')[0]}",
    }
    ours = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s")
    out = {f"{info}/{name}" for name in ours}
    for entry in archive.infolist():
        name = entry.filename
        if name.endswith("/") or name in out or "__pycache__" in name.split("/")[:-1]:
            continue
        scheme, rest = "purelib", name
        if name.startswith(f"{stem}.data/"):
            scheme, rest = name.removeprefix(f"{stem}.data/").split("/", 1)
        data, stream = archive.read(entry), _stream(wheel.data, entry)
        mode = 0o755 if entry.external_attr >> 16 & 0o111 else 0o644
        if scheme == "scripts":
            mode = 0o755
            if data.startswith(b"#!python") and len(data) <= 67_108_864:
                data = b"#!/opt/venv/bin/python\n" + data.partition(b"\n")[2]
                stream = None
        path = f"{schemes[scheme]}/{rest}"
        found.append(Member(path=path, kind="0", mode=mode, data=data, stream=stream))
    if f"{info}/entry_points.txt" in names:
        found += _scripts(archive.read(f"{info}/entry_points.txt").decode())
    found.append(_text(f"{site}/{info}/INSTALLER", b"mllock\n"))
    rows = [(_relative(m.path, site), _hash(m.data), str(len(m.data))) for m in found]
    rows.append((f"{info}/RECORD", "", ""))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows, key=lambda r: r[0].encode()))
    return [*found, _text(f"{site}/{info}/RECORD", text.getvalue().encode())]


def _stream(data: bytes, entry: zipfile.ZipInfo) -> bytes | None:
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        return None
    at = entry.header_offset
    name, extra = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (26, 28))
    begin = at + 30 + name + extra
    return data[begin : begin + entry.compress_size]


def _scripts(text: str) -> list[Member]:
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    points.optionxform = str  # type: ignore[assignment,method-assign]
    points.read_string(text)
    found = []
    for section in ("console_scripts", "gui_scripts"):
        for name, value in points.items(section) if points.has_section(section) else ():
            module, _, attr = (part.strip() for part in value.split("[")[0].partition(":"))
            lines = [
                "#!/opt/venv/bin/python",
                "# -*- coding: utf-8 -*-",
                "import re",
                "import sys",
                f"from {module} import {attr.split('.')[0]}",
                'if __name__ == "__main__":',
                '    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])',
                f"    sys.exit({attr}())",
            ]
            data = "".join(f"{line}\n" for line in lines).encode()
            found.append(Member(path=f"{VENV}/bin/{name}", kind="0", mode=0o755, data=data))
    return found


def _relative(path: str, site: str) -> str:
    if path.startswith(f"{site}/"):
        return path[len(site) + 1 :]
    return "../../../" + path[len(VENV) + 1 :]


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _text(path: str, data: bytes) -> Member:
    return Member(path=path, kind="0", mode=0o644, data=data)


def _link(path: str, target: str) -> Member:
    return Member(path=path, kind="2", mode=0o777, target=target)


def frame(python: str, interpreter: str) -> list[Member]:
    minor = ".".join(python.split(".")[:2])
    text = (
        f"home = {interpreter.rpartition('/')[0]}\n"
        "include-system-site-packages = false\n"
        f"version = {python}\n"
        f"executable = {interpreter}\n"
    )
    return [
        _text(f"{VENV}/pyvenv.cfg", text.encode()),
        _link(f"{VENV}/bin/python", interpreter),
        _link(f"{VENV}/bin/python3", "python"),
        _link(f"{VENV}/bin/python{minor}", "python"),
        Member(path=f"{VENV}/lib/python{minor}/site-packages", kind="5", mode=0o755),
    ]


def python_layers(groups: Sequence[Sequence[Wheel]], python: str, interpreter: str) -> list[Layer]:
    layers = []
    for number, group in enumerate(groups or [[]]):
        wheels = sorted(group, key=lambda wheel: wheel.package)
        members = frame(python, interpreter) if number == 0 else []
        for wheel in wheels:
            members += wheel_members(wheel, python)
        first: dict[str, Member] = {}
        for member in members:
            first.setdefault(member.path, member)
        layers.append(layer("python", _title([w.package for w in wheels]), first.values()))
    return layers


def _title(names: Sequence[str]) -> str:
    if not names:
        return "no packages"
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return ", ".join(names)


def bytecode(sources: Mapping[str, bytes], minor: str) -> list[Member]:
    """Bytecode of sources by their paths in the image, compiled by the Python that runs this."""
    found = []
    for path, source in sources.items():
        code = compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0)
        content = importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + importlib.util.source_hash(source)
        folder, _, name = path.rpartition("/")
        cached = f"{folder}/__pycache__/{name[:-3]}.cpython-{minor.replace('.', '')}.pyc"
        found.append(_text(cached, content + marshal.dumps(code, 2)))
    return found
