"""What only uv does: any target from any host, pip's settings in its own words, no passwords."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, each_bench, uv_bench
from support.webserver import serving
from support.wheels import pip_environ, simple_index, write_wheel

from mllock.core.platform import host_platform
from mllock.errors import InputError, OfflineError, ResolutionError
from mllock.lock.target import Target
from mllock.lock.uv import platform_of, variables_of

__all__ = ["each_bench", "uv_bench"]

OTHER = {"linux/amd64": "linux/arm64"}.get(host_platform(), "linux/amd64")
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_wheels_are_for_the_target(uv_bench: Bench, platform: str) -> None:
    for machine in ("x86_64", "aarch64"):
        for floor in (17, 28, 99):
            tag = f"cp311-cp311-manylinux_2_{floor}_{machine}"
            uv_bench.index.add("native", "1.0", ["pure"], tag=tag)
    uv_bench.index.add("pure", "1.0")
    found = uv_bench.resolve("native", platform=platform)
    assert [wheel.name for item in found for wheel in item.wheels] == [
        f"native-1.0-cp311-cp311-manylinux_2_28_{MACHINES[platform]}.whl",
        "pure-1.0-py3-none-any.whl",
    ]


def test_markers_are_those_of_the_target(uv_bench: Bench) -> None:
    for machine in MACHINES.values():
        uv_bench.index.add(f"only-{machine.replace('_', '-')}", "1.0")
        uv_bench.index.add("late", "1.0")
    uv_bench.index.add(
        "alpha",
        "1.0",
        [
            'only-x86-64; platform_machine == "x86_64"',
            'only-aarch64; platform_machine == "aarch64"',
            'late; python_full_version < "3.9.3"',
        ],
    )
    versions = {"alpha": "1.0", "late": "1.0", "only-aarch64": "1.0"}
    found = uv_bench.versions("alpha", platform="linux/arm64", python="3.9.2")
    assert found == versions


def test_a_version_without_a_wheel_for_the_target_is_passed_over(uv_bench: Bench) -> None:
    other = MACHINES[OTHER]
    uv_bench.index.add("native", "1.0", tag=f"cp311-cp311-manylinux_2_17_{other}")
    uv_bench.index.add("native", "2.0", tag=f"cp311-cp311-manylinux_2_17_{TARGET.machine}")
    assert uv_bench.versions("native", platform=OTHER) == {"native": "1.0"}
    assert uv_bench.versions("native") == {"native": "2.0"}
    assert uv_bench.refusal(ResolutionError, "native>=2", platform=OTHER) == (
        'no wheel for the image satisfies "native>=2"\n'
        f"expected: Python 3.11, {OTHER}, glibc 2.36\n"
        f"found: native-2.0-cp311-cp311-manylinux_2_17_{TARGET.machine}.whl\n"
        "hint: ask for a version of native that has one, or take a base that can use these"
    )


def test_a_pin_whose_wheels_are_spread_over_two_indexes(uv_bench: Bench) -> None:
    """Uv finds a version that it is to prefer in one index only."""
    with simple_index() as second:
        for index, machine in ((uv_bench.index, "x86_64"), (second, "aarch64")):
            for version in ("1.0", "2.0"):
                index.add("native", version, tag=f"cp311-cp311-manylinux_2_17_{machine}")
        uv_bench.environ["PIP_EXTRA_INDEX_URL"] = second.url
        for platform in MACHINES:
            found = uv_bench.versions("native", platform=platform, pins={"native": "1.0"})
            assert found == {"native": "1.0"}


def test_a_dependency_by_url(uv_bench: Bench, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "links", "beta", "1.0")
    uv_bench.index.add("alpha", "1.0", [f"beta @ {wheel.as_uri()}"])
    assert uv_bench.refusal(ResolutionError, "alpha") == (
        "a dependency that has no version: only wheels from an index can be locked\n"
        "found: beta\n"
        "hint: ask for a version of the package that needs it without a URL"
    )


def test_what_pip_has_no_objection_to_is_told_in_uvs_words(uv_bench: Bench) -> None:
    # pip judges by this machine's markers.
    machine = MACHINES[OTHER]
    uv_bench.index.add("alpha", "1.0", [f'beta>=2; platform_machine == "{machine}"'])
    uv_bench.index.add("beta", "1.0")
    message = uv_bench.refusal(ResolutionError, "alpha", platform=OTHER)
    assert message.splitlines()[:2] == [
        "uv could not resolve the dependencies",
        f"expected: versions for Python 3.11.2 on {OTHER}",
    ]
    assert "alpha" in message.splitlines()[2]
    assert "beta" in message.splitlines()[2]


def test_hidden_inputs_of_uv_do_not_count(uv_bench: Bench, tmp_path: Path) -> None:
    for version in ("1.0", "2.0", "3.0rc1"):
        uv_bench.index.add("alpha", version)
    (tmp_path / "hidden.txt").write_text("alpha<2\n")
    config = Path(uv_bench.environ["XDG_CONFIG_HOME"]) / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text('resolution = "lowest"\nprerelease = "allow"\n')
    assert uv_bench.versions("alpha") == {"alpha": "2.0"}
    uv_bench.environ |= {
        "UV_CONSTRAINT": str(tmp_path / "hidden.txt"),
        "UV_EXCLUDE_NEWER": "2000-01-01T00:00:00Z",
        "UV_PRERELEASE": "allow",
        "UV_RESOLUTION": "lowest",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    }
    assert uv_bench.versions("alpha") == {"alpha": "2.0"}


def test_the_best_version_of_all_indexes_and_folders(uv_bench: Bench, tmp_path: Path) -> None:
    uv_bench.index.add("alpha", "1.0")
    write_wheel(tmp_path / "links", "alpha", "2.0")
    uv_bench.environ["PIP_FIND_LINKS"] = str(tmp_path / "links")
    assert uv_bench.versions("alpha") == {"alpha": "2.0"}
    uv_bench.environ = pip_environ(tmp_path / "home", find_links=tmp_path / "links")
    assert uv_bench.versions("alpha") == {"alpha": "2.0"}


def test_settings_that_pip_cannot_read_are_not_passed_over(uv_bench: Bench, tmp_path: Path) -> None:
    """Without them, uv would ask the public index for what a private one should answer."""
    uv_bench.index.add("alpha", "1.0")
    uv_bench.environ["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    (tmp_path / "pip.conf").write_text("[global\nindex-url = http://127.0.0.1:9/simple\n")
    message = uv_bench.refusal(ResolutionError, "alpha").splitlines()
    assert message[0] == "pip cannot read its settings, which say where packages come from"
    assert message[1].startswith("found: ")
    assert message[2] == (
        "hint: mend pip.conf, or the variable that is named; see: pip config debug"
    )
    assert uv_bench.index.requests == []


def test_its_cache_is_where_it_was_told(uv_bench: Bench) -> None:
    uv_bench.index.add("alpha", "1.0")
    uv_bench.resolve("alpha")
    assert (uv_bench.cache.root / "uv" / str(os.geteuid()) / "CACHEDIR.TAG").is_file()
    assert not (Path(uv_bench.environ["XDG_CACHE_HOME"]) / "uv").exists()


def test_a_password_is_in_no_line_and_no_file(uv_bench: Bench, tmp_path: Path) -> None:
    secret = "hunter2-of-the-index"
    uv_bench.index.add("alpha", "1.0")
    url = uv_bench.index.url.replace("http://", f"http://someone:{secret}@")
    uv_bench.environ["PIP_INDEX_URL"] = url
    assert uv_bench.versions("alpha") == {"alpha": "1.0"}
    message = uv_bench.refusal(ResolutionError, "alpha>=7")
    uv_bench.environ["PIP_INDEX_URL"] = f"http://someone:{secret}@127.0.0.1:9/simple"
    with pytest.raises(Exception) as caught:
        uv_bench.resolve("alpha")
    said = [message, str(caught.value), *uv_bench.reporter.lines]
    assert [line for line in said if secret in line] == []
    files = [path for path in (uv_bench.cache.root).rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("glibc", "expected"), [(17, 17), (27, 17), (28, 28), (36, 36), (39, 39), (99, 40)]
)
def test_the_c_library_is_never_newer_than_the_bases(glibc: int, expected: int) -> None:
    target = Target(python="3.11.2", platform="linux/arm64", glibc=(2, glibc))
    assert platform_of(target) == f"aarch64-manylinux_2_{expected}"


def test_settings_in_the_words_of_uv() -> None:
    environ = {"HOME": "/home/me", "UV_OFFLINE": "1", "PYTHONPATH": "/p", "PIP_PRE": "1"}
    settings = {
        "index-url": "https://example.org/simple",
        "extra-index-url": "https://one.example.org https://two.example.org",
        "find-links": "/a /b",
        "trusted-host": "example.org",
        "timeout": "2.5",
        "cert": __file__,
        "keyring-provider": "import",
    }
    own = {
        key: value
        for key, value in variables_of(environ, settings).items()
        if key not in ("LC_ALL", "NO_COLOR", "UV_NO_PROGRESS")
    }
    assert own == {
        "HOME": "/home/me",
        "SSL_CERT_FILE": __file__,
        "UV_DEFAULT_INDEX": "https://example.org/simple",
        "UV_FIND_LINKS": "/a,/b",
        "UV_HTTP_TIMEOUT": "2",
        "UV_INDEX": "https://one.example.org https://two.example.org",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "example.org",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    assert variables_of({}, {})["UV_SYSTEM_CERTS"] == "1"


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def test_the_proxy_of_pip_is_the_proxy() -> None:
    environ = {"HTTP_PROXY": "http://other", "https_proxy": "http://other", "no_proxy": "*"}

    def proxies(settings: dict[str, str]) -> dict[str, str]:
        found = variables_of(environ, settings)
        return {name: value for name, value in found.items() if name.lower() in PROXIES}

    assert proxies({}) == environ
    assert proxies({"no-proxy-env": "1"}) == {}
    names = ("http_proxy", "https_proxy", "all_proxy")
    assert proxies({"proxy": "http://mine:1"}) == dict.fromkeys(
        (*names, *map(str.upper, names)), "http://mine:1"
    )


def test_certificates_are_those_of_pip(tmp_path: Path) -> None:
    file, folder, nothing = tmp_path / "ca.pem", tmp_path / "certs", tmp_path / "nothing"
    file.write_text("")
    folder.mkdir()

    def trusted(cert: Path | None = None, **environ: object) -> dict[str, str]:
        settings = {} if cert is None else {"cert": str(cert)}
        found = variables_of({name: str(value) for name, value in environ.items()}, settings)
        return {name: value for name, value in found.items() if "CERT" in name}

    system, one = {"UV_SYSTEM_CERTS": "1"}, {"SSL_CERT_FILE": str(file)}
    all_in = {"SSL_CERT_DIR": str(folder)}
    assert trusted(file, SSL_CERT_FILE="/other", SSL_CERT_DIR=folder) == one
    assert trusted(folder, SSL_CERT_FILE=file) == all_in
    assert trusted(None, REQUESTS_CA_BUNDLE=folder) == all_in
    assert trusted(None, CURL_CA_BUNDLE=file, SSL_CERT_DIR=folder) == one
    # As requests has it.
    assert trusted(folder, REQUESTS_CA_BUNDLE=file) == one
    # OpenSSL passes over what is not there; uv would trust nothing.
    assert trusted(None, SSL_CERT_FILE=nothing, SSL_CERT_DIR=f"{nothing}:{folder}") == all_in
    assert trusted(None, SSL_CERT_FILE=folder, SSL_CERT_DIR=nothing) == system
    with pytest.raises(InputError) as caught:
        trusted(nothing)
    assert str(caught.value) == (
        f"pip's setting cert names no file and no folder\nfound: {nothing}\n"
        "hint: it may stand in pip.conf, PIP_CERT or REQUESTS_CA_BUNDLE; see: pip config debug"
    )


def test_pip_and_uv_go_the_same_way(each_bench: Bench, tmp_path: Path) -> None:
    """Through pip's proxy, whatever other variables say, and without a word about certificates."""
    each_bench.index.add("alpha", "1.0")
    (tmp_path / "certs").mkdir()
    with serving({}) as mine, serving({}) as other:
        each_bench.environ |= {
            "PIP_INDEX_URL": "http://index.example.org/simple",
            "PIP_TRUSTED_HOST": "index.example.org",
            "PIP_PROXY": mine.url,
            "PIP_CERT": str(tmp_path / "certs"),
            "HTTP_PROXY": other.url,
            "http_proxy": other.url,
        }
        each_bench.environ.pop("SSL_CERT_FILE", None)
        each_bench.refusal(ResolutionError, "alpha")
        assert mine.asked
        assert other.asked == []
    assert [line for line in each_bench.reporter.lines if "will be trusted" in line] == []


def test_a_timeout_in_whole_seconds() -> None:
    for text, seconds in (("0.2", "1"), ("-3", "1"), ("1e30", "31536000")):
        assert variables_of({}, {"timeout": text})["UV_HTTP_TIMEOUT"] == seconds
    with pytest.raises(InputError, match="pip's setting timeout is not a finite number"):
        variables_of({}, {"timeout": "nan"})


@pytest.mark.parametrize(
    ("size", "place", "found"),
    [
        (2**64 - 1, "", "out-of-range value for u64 type"),
        (1.5, ": 127.0.0.1", "its page for alpha: invalid type: floating point `1.5`, "),
        (-3, ": 127.0.0.1", "its page for alpha: invalid value: integer `-3`, expected u64 "),
    ],
)
def test_a_size_that_is_none(uv_bench: Bench, size: float, place: str, found: str) -> None:
    uv_bench.index.sized = True
    uv_bench.index.add("alpha", "1.0")
    uv_bench.index.stated["alpha-1.0-py3-none-any.whl"] = {"size": size}
    message = uv_bench.refusal(OfflineError, "alpha").splitlines()
    assert message[:2] == [
        f"the package index's answer cannot be understood{place}",
        "expected: a list of files, as PEP 503 or PEP 691 have it",
    ]
    assert message[2].startswith(f"found: {found}")
    assert message[3:] == ["hint: check the URL of the index (pip config debug)"]


def test_a_relative_file_of_settings_counts(
    each_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_bench.index.add("alpha", "1.0")
    write_wheel(tmp_path / "wheels", "beta", "1.0")
    monkeypatch.chdir(tmp_path)
    Path("pip.conf").write_text(f"[global]\nindex-url = {each_bench.index.url}\n")
    del each_bench.environ["PIP_INDEX_URL"]
    each_bench.environ |= {"PIP_CONFIG_FILE": "pip.conf", "PIP_FIND_LINKS": "wheels"}
    assert each_bench.versions("alpha", "beta") == {"alpha": "1.0", "beta": "1.0"}


def test_a_version_to_the_letter(each_bench: Bench) -> None:
    for version in ("1.0", "2.0"):
        each_bench.index.add("alpha", version)
    assert each_bench.versions("alpha===1.0") == {"alpha": "1.0"}
