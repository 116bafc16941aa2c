"""Packages indexes from a few words, for the solver."""

from __future__ import annotations

from mllock.lock.debian.index import Index, Universe
from mllock.lock.debian.solve import Solution

SHA = "ab" * 32


def stanza(name: str, version: str = "1", **fields: str) -> str:
    every = {"Package": name, "Version": version, "Architecture": "amd64"}
    every |= {key.replace("_", "-"): value for key, value in fields.items()}
    every |= {"Filename": f"pool/{name}_{version}.deb", "Size": "1", "SHA256": SHA}
    return "".join(f"{key}: {value}\n" for key, value in every.items())


def universe(*indexes: str | list[str]) -> Universe:
    lists = [index if isinstance(index, list) else [index] for index in indexes]
    return Universe([Index("\n".join(index).encode(), "Packages") for index in lists], "amd64")


def names(solution: Solution) -> list[str]:
    found = [f"{package.name} {package.version}" for package in solution.base]
    return found + [f"+{package.name} {package.version}" for package in solution.system]
