"""A project to lock for two platforms, with resolvers that answer without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.lock_project import LockProject

AMD, ARM = "linux/amd64", "linux/arm64"
BOTH = (AMD, ARM)
TAGS = {AMD: "cp311-cp311-manylinux_2_28_x86_64", ARM: "cp311-cp311-manylinux_2_28_aarch64"}


@pytest.fixture
def project(tmp_path: Path) -> LockProject:
    """Alpha has a wheel for each platform, beta one for both."""
    project = LockProject(tmp_path)
    text = (project.folder / "mlproject.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("platforms")]
    at = lines.index('python = "3.11"')
    lines[at + 1 : at + 1] = [f'platforms = ["{ARM}", "{AMD}"]', 'resolver = "uv"']
    project.write("\n".join(lines) + "\n")
    project.python.name = "uv"
    project.system.shared = ("base-files",)
    project.python.tags = {(platform, "alpha"): tag for platform, tag in TAGS.items()}
    return project


def one(project: LockProject, platform: str) -> None:
    project.change(f'platforms = ["{ARM}", "{AMD}"]', f'platforms = ["{platform}"]')
