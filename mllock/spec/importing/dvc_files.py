"""`NAME.dvc`: files and folders that DVC tracks, each with where it came from.

What `dvc import-url` brought is data from that URL, at the path where it was put; what `dvc add`
took is data of the project. What comes from another DVC repository has no URL that can be asked.
"""

from __future__ import annotations

import posixpath

from mllock.spec.importing.documents import Document, Files, read_yaml
from mllock.spec.importing.found import Collector

__all__ = ["SUFFIX", "read_dvc_file", "read_dvc_files", "role_of"]

SUFFIX = ".dvc"
# Protocols that DVC names otherwise.
_SCHEMES = {"azure": "az", "gcs": "gs"}


def read_dvc_files(out: Collector, files: Files) -> None:
    """Every such file of the project that was not read yet."""
    for name in files.named(SUFFIX):
        data = files.read(name)
        if data is not None and name not in out.files:
            read_dvc_file(out, read_yaml(data, name))


def read_dvc_file(out: Collector, doc: Document) -> None:
    out.read(doc.file)
    place = doc.place("outs")
    folder = posixpath.join(posixpath.dirname(doc.file), doc.text("wdir") or "")
    outs = doc.array("outs")
    path = doc.text("outs", 0, "path") if len(outs) == 1 and isinstance(outs[0], dict) else None
    if path is None:
        out.left(place, doc.file, "does not name one file or folder", "name it in [data] by hand")
        return
    inside = posixpath.normpath(posixpath.join(folder, path))
    role = role_of(inside)
    deps = doc.array("deps")
    if not deps:
        out.add_data(inside, role, place)
        return
    source = doc.text("deps", 0, "path") or ""
    where = doc.place("deps")
    if isinstance(deps[0], dict) and "repo" in deps[0]:
        why = "comes from a repository of DVC: the lock pins what is here"
        hint = (
            f"run dvc pull {doc.file} before mllock lock; or name a URL of it in [data] as source"
        )
        out.left(where, f"{source} at {inside}", why, hint)
        out.add_data(inside, role, place)
    elif "://" in source:
        scheme, _, rest = source.partition("://")
        out.add_data(f"{_SCHEMES.get(scheme, scheme)}://{rest}", role, where, inside)
    else:
        why = "is a copy of something outside of the project: the lock pins what is here"
        out.left(where, f"{source} at {inside}", why)
        out.add_data(inside, role, place)


def role_of(path: str) -> str:
    """What data of this name usually is for."""
    name = posixpath.basename(path)
    return "test" if "test" in name else "validation" if "val" in name else "train"
