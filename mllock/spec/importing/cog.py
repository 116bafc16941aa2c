"""cog.yaml: Cog's build section. Its own server and its Predictor have no counterpart here."""

from __future__ import annotations

from mllock.spec.importing.documents import Document, Files
from mllock.spec.importing.found import Collector
from mllock.spec.importing.pip_lines import read_requirements, requirement_line
from mllock.spec.importing.shell import read_shell
from mllock.spec.importing.unread import leave_unread

__all__ = ["read_cog"]

_CUDA_HINT = (
    "wheels bring their own CUDA, and the driver is the machine's: else use a base that has it"
)
_QUIET = {"fast", "cog_runtime", "sdk_version"}  # of Cog's own builder and server
# Key -> why it is not carried over, and what to do.
_OTHER = {
    "predict": (
        "Cog's server runs it, and it is not in this image",
        "write a program that serves HTTP, and name it in [serve]",
    ),
    "train": (
        "Cog's function has no command line",
        'write a program that calls it: [train] command = ["python", "train.py"]',
    ),
    "image": ("images are named by [project] name", "mllock build --output registry:HOST/REPO"),
    "concurrency": (
        "how many requests at a time is a setting of the server",
        "write it into [serve] command",
    ),
    "weights": ("weights are data, or the model that training writes", "name them in [data]"),
}


def read_cog(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    if doc.text("build", "python_version"):
        out.python_is(
            doc.text("build", "python_version") or "", doc.place("build", "python_version")
        )
    for text, place in doc.texts("build", "python_packages"):
        requirement_line(out, files, text.strip(), place)
    name = doc.text("build", "python_requirements")
    if name and not read_requirements(out, files, name):
        out.left(doc.place("build", "python_requirements"), name, "no such file")
    for text, place in doc.texts("build", "system_packages"):
        out.system(text.strip(), place)
    for index, item in enumerate(doc.array("build", "run")):
        where = ("build", "run", index)
        inner = (*where, "command") if isinstance(item, dict) else where
        read_shell(out, files, doc.text(*inner) or "", doc.place(*inner))
        if isinstance(item, dict) and "mounts" in item:
            why = "no secret is mounted while an image is made: nothing is run there"
            out.left(doc.place(*where), "mounts", why)
    for key in ("cuda", "cudnn"):
        value = doc.text("build", key)
        if value:
            out.left(doc.place("build", key), f"{key} {value}", "no base has CUDA", _CUDA_HINT)
    if doc.get("build", "gpu") is True:
        why = "[train] is not written from this file"
        hint = "once there is a [train] table, write gpus = 1 in it"
        out.left(doc.place("build", "gpu"), "gpu: true", why, hint)
    for text, place in doc.texts("build", "pre_install"):
        read_shell(out, files, text, place)
    for text, place in doc.texts("environment"):
        key, _, value = text.partition("=")
        out.variable(key.strip(), value, place)
    for key, (why, hint) in _OTHER.items():
        if doc.get(key) is not None:
            value = doc.get(key)
            what = f"{key}: {value}" if isinstance(value, str) else key
            out.left(doc.place(key), what, why, hint)
    for text, place in doc.texts("build", "python_extra_index_urls"):
        out.places.index(text.strip(), place)
    for text, place in doc.texts("build", "python_find_links"):
        out.places.link(text.strip(), place)
    leave_unread(out, doc)
    leave_unread(out, doc, "build", quiet=_QUIET)
