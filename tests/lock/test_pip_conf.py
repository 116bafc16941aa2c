"""pip's settings without pip: what its own option parser makes of the same files and variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.reporter import Recorder

from mllock.errors import InputError, ResolutionError
from mllock.lock.pip import Pip, clean_environ
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
    return as_it_is(clean_environ(environ), folder)


def as_it_is(environ: Mapping[str, str], folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", ORACLE],
        cwd=folder,
        env=environ,
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


# Where pip, run by the caller, finds what these name.
IN_FILE = "cert = ca.pem\nfind-links = wheels https://example.org/w\nindex-url = simple\n"
RELATIVE: dict[str, tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]] = {
    "a named file": (
        {"here/pip.conf": "[global]\nindex-url = https://private.example.org/simple\n"},
        {"PIP_CONFIG_FILE": "pip.conf"},
        {"index-url": "https://private.example.org/simple"},
    ),
    "a named file elsewhere": (
        {"pip.conf": "[global]\nindex-url = https://private.example.org/simple\n"},
        {"PIP_CONFIG_FILE": "../pip.conf"},
        {"index-url": "https://private.example.org/simple"},
    ),
    "variables": (
        {"here/simple/alpha/x": "", "home/more/x": "", "home/my.pem": ""},
        {
            "PIP_CERT": "ca.pem",
            "PIP_CLIENT_CERT": "~/my.pem",
            "PIP_CACHE_DIR": "../cache",
            "PIP_FIND_LINKS": "wheels ~/more file:///opt/x https://example.org/w",
            "PIP_INDEX_URL": "simple",
            "PIP_EXTRA_INDEX_URL": "no-folder /opt/simple",
        },
        {
            "cert": "{here}/ca.pem",
            "client-cert": "{home}/my.pem",
            "cache-dir": "{here}/../cache",
            "find-links": "{here}/wheels {home}/more file:///opt/x https://example.org/w",
            "index-url": "{here}/simple",
            "extra-index-url": "no-folder /opt/simple",
        },
    ),
    "values of a file": (
        {"home/.pip/pip.conf": f"[global]\n{IN_FILE}", "here/simple/alpha/x": ""},
        {},
        {
            "cert": "{here}/ca.pem",
            "find-links": "{here}/wheels https://example.org/w",
            "index-url": "{here}/simple",
        },
    ),
}


@pytest.mark.parametrize("case", RELATIVE)
def test_relative_places_are_the_callers(
    tmp_path: Path, environ: dict[str, str], case: str
) -> None:
    """And pip, run in another folder with the variables that it is given, has them so."""
    files, variables, expected = RELATIVE[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "scratch").mkdir()
    here, home = tmp_path / "here", tmp_path / "home"
    pip = Pip(environ=environ | variables, reporter=Recorder(), here=here)
    found = pip.settings(tmp_path / "scratch")
    wanted = {name: text.format(here=here, home=home) for name, text in expected.items()}
    assert {name: found.get(name) for name in wanted} == wanted
    # All others are as pip has them where the caller is.
    truth = as_it_is(pip.variables(tmp_path / "scratch"), tmp_path / "scratch")
    meant = of_pip(environ | variables, here)
    for name, value in truth.items():
        key = LISTS.get(name, name.replace("_", "-"))
        if key in wanted:
            assert value == (wanted[key].split() if name in LISTS else wanted[key])
        else:
            assert value == meant[name]


def test_a_folder_with_a_blank_is_one_word(tmp_path: Path, environ: dict[str, str]) -> None:
    here = tmp_path / "my project, new"
    here.mkdir()
    pip = Pip(environ=environ | {"PIP_FIND_LINKS": "wheels"}, reporter=Recorder(), here=here)
    found = pip.settings(tmp_path)["find-links"]
    assert found == f"file://{tmp_path}/my%20project%2C%20new/wheels"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "is not a finite number\nexpected: seconds, as in PIP_TIMEOUT=60\nfound: nan"),
        ("-inf", "is not a finite number\nexpected: seconds, as in PIP_TIMEOUT=60\nfound: -inf"),
        ("1e999", "is not a finite number\nexpected: seconds, as in PIP_TIMEOUT=60\nfound: 1e999"),
        ("soon", "is not a number\nfound: soon"),
    ],
)
def test_a_timeout_that_is_none(
    tmp_path: Path, environ: dict[str, str], value: str, message: str
) -> None:
    pip = Pip(environ=environ | {"PIP_TIMEOUT": value}, reporter=Recorder())
    with pytest.raises(InputError) as caught:
        pip.settings(tmp_path)
    assert str(caught.value) == f"pip's setting timeout {message}"
