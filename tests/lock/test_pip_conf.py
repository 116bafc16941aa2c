"""pip's settings without pip: what its own option parser makes of the same files and variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mllock.errors import ResolutionError
from mllock.lock.pip import clean_environ
from mllock.lock.pip_conf import is_set, settings_of

# pip itself, asked what `pip download` would do.
ORACLE = """
import json
from pip._internal.commands import create_command
options = vars(create_command("download").parser.get_default_values())
names = ("index_url", "extra_index_urls", "find_links", "no_index", "trusted_hosts", "timeout",
         "retries", "cert", "client_cert", "proxy", "keyring_provider")
print(json.dumps({name: options[name] for name in names}))
"""
LISTS = {
    "extra_index_urls": "extra-index-url",
    "find_links": "find-links",
    "trusted_hosts": "trusted-host",
}


def of_pip(environ: Mapping[str, str], folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", ORACLE],
        cwd=folder,
        env=clean_environ(environ),
        check=True,
        capture_output=True,
    )
    return json.loads(done.stdout)


def as_pip_has_it(settings: Mapping[str, str], nothing: Mapping[str, object]) -> dict[str, object]:
    """`settings` in the form of pip's options; what is not set is as in `nothing`."""
    found = dict(nothing)
    for name in found:
        key = LISTS.get(name, name.replace("_", "-"))
        if key not in settings:
            continue
        text = settings[key]
        found[name] = text.split() if name in LISTS else text
        if name == "no_index":
            found[name] = is_set(text)
        if name in ("timeout", "retries"):
            found[name] = float(text)
    return found


CASES: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "each file before the next": (
        {
            "dirs/one/pip/pip.conf": "[global]\nindex-url = https://one.example.org\ntimeout = 1\n",
            "dirs/two/pip/pip.conf": "[global]\ntimeout = 2\nretries = 2\nproxy = http://two\n",
            "home/.pip/pip.conf": "[global]\nretries = 3\ncert = /three\nproxy = http://three\n",
            "config/pip/pip.conf": "[global]\ncert = /four\nproxy =\n",
        },
        {},
    ),
    "a section before a file": (
        {
            "dirs/one/pip/pip.conf": "[download]\ntimeout = 1\n[install]\nretries = 9\n",
            "config/pip/pip.conf": "[global]\ntimeout = 2\nretries = 4\n",
        },
        {},
    ),
    "a file that is named, in the place of the user's": (
        {
            "dirs/one/pip/pip.conf": "[global]\ntimeout = 1\nretries = 1\n",
            "config/pip/pip.conf": "[global]\ntimeout = 2\ncert = /user\n",
            "here/named.conf": "[global]\nTimeOut = 3\nno_index = yes\n",
        },
        {"PIP_CONFIG_FILE": "named.conf"},
    ),
    "a named file that is not there": (
        {"config/pip/pip.conf": "[global]\ntimeout = 2\n"},
        {"PIP_CONFIG_FILE": "/nowhere/pip.conf"},
    ),
    "no file": (
        {"config/pip/pip.conf": "[global]\ntimeout = 2\n"},
        {"PIP_CONFIG_FILE": os.devnull},
    ),
    "variables before all": (
        {
            "config/pip/pip.conf": "[global]\nextra-index-url =\n    https://a.example.org\n"
            "    https://b.example.org\nfind-links = /a /b\ntrusted-host = a b\n",
        },
        {
            "PIP_FIND_LINKS": "/c",
            "PIP_DEFAULT_TIMEOUT": "7.5",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_PYPI_URL": "https://c.example.org",
            "PIP_KEYRING_PROVIDER": "subprocess",
            "PIP_VERSION": "1",
        },
    ),
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    for name in ("home", "config", "dirs", "here"):
        (tmp_path / name).mkdir()
    own = {key: value for key, value in os.environ.items() if not key.upper().startswith("PIP_")}
    return own | {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CONFIG_DIRS": f"{tmp_path}/dirs/one:{tmp_path}/dirs/two",
    }


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_pip_has(tmp_path: Path, environ: dict[str, str], case: str) -> None:
    files, variables = CASES[case]
    nothing = of_pip(environ | {"PIP_CONFIG_FILE": os.devnull}, tmp_path / "here")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    environ |= variables
    found = settings_of(clean_environ(environ), tmp_path / "here")
    truth = of_pip(environ, tmp_path / "here")
    assert as_pip_has_it(found, nothing) == truth
    assert (truth == nothing) == (case == "no file")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"index-url = x\n", "File contains no section headers. file: '{}', line: 1 'index-url = "),
        (b"[global]\na = 1\nA = 2\n", "While reading from '{}' [line 3]: option 'a' in section"),
        (b"[global]\na = \xff\n", "{} is not UTF-8"),
    ],
)
def test_a_file_that_pip_cannot_read(
    tmp_path: Path, environ: dict[str, str], content: bytes, reason: str
) -> None:
    file = tmp_path / "config/pip/pip.conf"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(subprocess.CalledProcessError):
        of_pip(environ, tmp_path)
    with pytest.raises(ResolutionError) as caught:
        settings_of(clean_environ(environ), tmp_path)
    assert str(caught.value).startswith(
        "pip cannot read its settings, which say where packages come from\n"
        f"found: {reason.format(file)}"
    )
