"""What apt would install, beside what is locked: the same indexes, the real archive, no dpkg state.

apt reads the sources of this machine into a folder of its own. `--simulate` says what it would
install of a name where nothing is installed yet, without Recommends; that is our closure, but for
the differences that are listed here with their reasons, and the packages of LEFT_OUT, which are
taken here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mllock.core.platform import KNOWN, host_platform
from mllock.lock.debian.index import Index, Universe
from mllock.lock.debian.solve import solve

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

# Names that people put into the apt-get lines of their Dockerfiles; one line is one request.
ASKED = (
    "build-essential cmake curl git",
    "default-jre-headless graphviz imagemagick",
    "ffmpeg libsm6 libxext6 libgl1 libglib2.0-0",
    "libgomp1 libopenblas0 libsndfile1 sox",
    "gdal-bin ghostscript poppler-utils tesseract-ocr",
    "nginx mailutils openssh-client postgresql-client unixodbc",
    "octave openmpi-bin",
    "python3-numpy r-base-core dbus",
    "libtesseract-dev",
)

# Request -> (only apt has, only we have, why).
EXPECTED: dict[str, tuple[set[str], set[str], str]] = {
    "gdal-bin ghostscript poppler-utils tesseract-ocr": (
        {"fonts-dejavu-core"},
        set(),
        "fontconfig-config wants one of many fonts: apt goes to the depth first, had none yet"
        " and took the first; we have the one that ghostscript needs anyway",
    ),
    "libtesseract-dev": (
        {
            "libcurl3-nss",
            "libcurl4-nss-dev",
            "libnspr4",
            "libnss3",
            "libsqlite3-0",
            "nss-plugin-pem",
        },
        {"libcurl4-gnutls-dev", "libcurl3-gnutls"},
        "of three libcurl4-dev, apt has its own choice; we have the one that the package names:"
        " libcurl4-dev | libcurl4-gnutls-dev",
    ),
}


class Apt:
    """An apt with folders of its own, the sources of this machine, and nothing installed."""

    def __init__(self, root: Path) -> None:
        for name in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/partial"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        settings = {
            "APT::Architecture": KNOWN[host_platform()].debian,
            "APT::Architectures": KNOWN[host_platform()].debian,
            "APT::Install-Recommends": "false",
            "Acquire::GzipIndexes": "false",
            "Acquire::Languages": "none",
            "Dir::Cache": str(root / "cache"),
            "Dir::Cache::archives": str(root / "cache"),
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::main": str(root / "etc/apt.conf"),
            "Dir::Etc::parts": str(root / "etc/apt.conf.d"),
            "Dir::Etc::preferences": str(root / "etc/preferences"),
            "Dir::Etc::preferencesparts": str(root / "etc/preferences.d"),
            "Dir::State::lists": str(root / "lists"),
            "Dir::State::status": str(root / "status"),
        }
        conf = root / "apt.conf"
        conf.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        self._environ = os.environ | {"APT_CONFIG": str(conf), "LC_ALL": "C"}
        self.lists = root / "lists"
        self.run("update")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["apt-get", "-q", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self._environ,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def closure(self, *names: str) -> dict[str, str]:
        told = self.run("install", "--simulate", "--no-install-recommends", *names)
        found = re.findall(r"^Inst (\S+) \((\S+) ", told, re.MULTILINE)
        return {name.partition(":")[0]: version for name, version in found}


@pytest.fixture(scope="module")
def apt(tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return Apt(tmp_path_factory.mktemp("apt"))


@pytest.fixture(scope="module")
def universe(apt: Apt) -> Universe:
    files = sorted(apt.lists.glob("*_dists_bookworm*_Packages"))
    assert files
    indexes = [Index(path.read_bytes(), path.name) for path in files]
    return Universe(indexes, KNOWN[host_platform()].debian)


@pytest.mark.parametrize("asked", ASKED)
def test_the_closure_is_the_one_that_apt_has(apt: Apt, universe: Universe, asked: str) -> None:
    theirs = apt.closure(*asked.split())
    solution = solve(universe, seeds=(), asked=asked.split(), pins={}, left_out=())
    ours = {package.name: package.version for package in solution.system}
    assert len(ours) > 2
    only_apt, only_ours, _ = EXPECTED.get(asked, (set(), set(), ""))
    assert theirs.keys() - ours.keys() == only_apt
    assert ours.keys() - theirs.keys() == only_ours
    assert {name: ours[name] for name in ours.keys() & theirs.keys()} == {
        name: theirs[name] for name in ours.keys() & theirs.keys()
    }
