"""Runs to share: one whose model has everything, and how tests push and pull it."""

from __future__ import annotations

import dataclasses
import os
import stat

from mllock.store.registry.reference import parse_reference
from mllock.workflows.pull import pull_run
from mllock.workflows.push import push_run

RICH = "20261124-081501-rich"
LARGE = bytes(range(256)) * 8000  # 2 MB
FILES = {
    "one.bin": LARGE,
    "same/two.bin": LARGE,
    "run.sh": b"#!/bin/sh\n" * 200_000,  # a large one that can be executed
    "small.txt": b"small",
    "sub/small.sh": b"#!\n",
    "sub/empty": b"",
    "sub/ünïcode name": b"x",
    "medium.bin": b"m" * 1_000_000,
}


def context(world, environ=None, folder="project"):
    ctx = world.context(folder)
    return dataclasses.replace(ctx, environ=ctx.environ | (environ or {}))


def push(world, host, tag=":v1", run=None, environ=None, **options):
    return push_run(context(world, environ), parse_reference(f"{host}/wine{tag}"), run, **options)


def pull(ctx, host, tag=":v1", **options):
    return pull_run(ctx, parse_reference(f"{host}/wine{tag}"), **options)


def listing(folder):
    """Everything below a folder: kind, exec bit, bytes or target."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            place = os.path.relpath(path, folder)
            if stat.S_ISLNK(mode):
                found[place] = ("link", os.readlink(path))
            elif stat.S_ISDIR(mode):
                found[place] = ("folder",)
            else:
                with open(path, "rb") as file:
                    found[place] = ("file", bool(mode & 0o100), file.read())
    return found
