"""Says what a Python process sees of its surroundings, and changes what cannot be set from outside.

In PYTHONPATH, Python loads this file by itself before any program begins. The first process of a
build writes what it sees to AXES_FACTS, so that a case of the rebuild matrix cannot pass without
being in effect. AXES_REVERSED gives the entries of folders in another order; AXES_CPUS says how
many processors there are.
"""

import contextlib
import json
import locale
import os
import shutil
import socket
import sys
import time

_listdir, _scandir = os.listdir, os.scandir


class _Reversed:
    def __init__(self, path):
        with _scandir(path) as entries:
            backwards = sorted(entries, key=lambda entry: entry.name, reverse=True)
        self._entries = iter(backwards)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def close(self):
        self._entries = iter(())


if "AXES_REVERSED" in os.environ:
    os.listdir = lambda path=".": sorted(_listdir(path), reverse=True)
    os.scandir = lambda path=".": _Reversed(path)
if "AXES_CPUS" in os.environ:
    os.cpu_count = lambda: int(os.environ["AXES_CPUS"])


def _facts():
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "user": os.getuid(),
        "umask": f"{umask:03o}",
        "zone": time.strftime("%z"),
        "locale": locale.setlocale(locale.LC_CTYPE),
        "encoding": sys.getfilesystemencoding(),
        "seed": os.environ.get("PYTHONHASHSEED"),
        "hash": hash("mllock"),
        "order": os.listdir(os.environ["AXES_FOLDER"]),
        "scanned": [entry.name for entry in os.scandir(os.environ["AXES_FOLDER"])],
        "host": socket.gethostname(),
        "affinity": len(os.sched_getaffinity(0)),
        "cpus": os.cpu_count(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "year": time.localtime().tm_year,
        "pigz": shutil.which("pigz") is not None,
        "folder": os.getcwd(),
    }


def _tell():
    with (
        contextlib.suppress(FileExistsError),
        open(os.environ["AXES_FACTS"], "x", encoding="utf-8") as file,
    ):
        json.dump(_facts(), file)


if "AXES_FACTS" in os.environ:
    _tell()
