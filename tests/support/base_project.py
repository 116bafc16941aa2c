"""A project to lock whose base is real, and whose Python packages are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mllock.errors import MllockError
from mllock.lock.format import read_lock
from mllock.lock.types import Lock
from mllock.workflows.context import Context
from mllock.workflows.lock import Resolvers, check_lock, lock_project
from support.base_image import BaseImage, python_layer
from support.lock_project import SPEC, LockProject


class BaseProject(LockProject):
    """A project whose base is real and whose Python packages are not."""

    def __init__(self, folder: Path, base: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self.environ = {"HOME": str(folder), **(environ or {})}
        text = SPEC.replace('system-packages = ["libgomp1"]\n', f'base = "{base}"\n')
        assert base in text
        self.write(text)

    def base_lock(self, **options: Any) -> Lock:
        ctx = Context(
            project=self.folder,
            environ=self.environ,
            reporter=self.reporter,
            cache=self.ctx.cache,
            fetcher=self.ctx.fetcher,
        )
        self.result = lock_project(ctx, resolvers=Resolvers(python=self.python), **options)
        assert read_lock(self.path) == self.result.lock
        assert check_lock(ctx) == ()
        return self.result.lock

    def refused(self) -> str:
        with pytest.raises(MllockError) as caught:
            self.base_lock()
        self.error = caught.value
        assert not self.path.exists()
        return str(caught.value)


def image(version: str = "3.11.9", **options: Any) -> BaseImage:
    return BaseImage(layers=[python_layer(version), {"etc/motd": b"hello"}], **options)
