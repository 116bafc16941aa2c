"""Resolving with the real pip-tools, uv and pip, from an index on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import TARGET, Bench, bench, each_bench
from support.wheels import (
    make_wheel,
    pip_environ,
    wheel_name,
    write_wheel,
)

from mllock.core.digest import hex_of, sha256_of
from mllock.core.platform import host_platform
from mllock.errors import OfflineError, ResolutionError
from mllock.lock.ports import Upgrade

__all__ = ["bench", "each_bench"]


def test_every_wheel_is_named_measured_and_kept(each_bench: Bench) -> None:
    alpha = each_bench.index.add("alpha", "1.0", ["Two_Words>=1"])
    words = each_bench.index.add("two-words", "1.5")
    found = each_bench.resolve("alpha")
    assert [(item.name, item.version) for item in found] == [("alpha", "1.0"), ("two-words", "1.5")]
    for item, data in zip(found, (alpha, words), strict=True):
        (wheel,) = item.wheels
        assert wheel.name == wheel_name(item.name, item.version)
        assert wheel.path == f"wheels/{wheel.name}"
        assert wheel.size == len(data)
        assert wheel.hashes == {"sha256": hex_of(sha256_of(data))}
        path = each_bench.cache.get(sha256_of(data))
        assert path is not None
        assert path.read_bytes() == data


def test_nothing_asked_is_nothing_found(bench: Bench) -> None:
    assert bench.resolve() == ()
    assert bench.index.requests == []


def test_pins_stay_unless_asked_to_move(each_bench: Bench) -> None:
    for name in ("alpha", "beta"):
        each_bench.index.add(name, "1.0")
        each_bench.index.add(name, "2.0")
    pins = {"alpha": "1.0", "beta": "1.0"}
    assert each_bench.versions("alpha", "beta", pins=pins) == pins
    some = Upgrade(names=frozenset({"beta"}))
    assert each_bench.versions("alpha", "beta", pins=pins, upgrade=some) == pins | {"beta": "2.0"}
    everything = Upgrade(all=True)
    assert set(each_bench.versions("alpha", "beta", pins=pins, upgrade=everything).values()) == {
        "2.0"
    }
    # A pin is a wish: what the spec asks for goes before it.
    assert each_bench.versions("alpha>=2", "beta", pins=pins) == {"alpha": "2.0", "beta": "1.0"}


def test_pins_in_the_way_make_room_and_others_stay(each_bench: Bench) -> None:
    """The pin of alpha, not only that of beta, contradicts what is asked for now."""
    each_bench.index.add("alpha", "1.0", ["beta<2"])
    each_bench.index.add("alpha", "2.0", ["beta>=2"])
    for name in ("beta", "gamma"):
        for version in ("1.0", "2.0", "3.0"):
            each_bench.index.add(name, version)
    pins = {"alpha": "2.0", "beta": "2.0", "gamma": "2.0"}
    found = each_bench.versions("alpha", "beta<2", "gamma", pins=pins)
    assert found == {"alpha": "1.0", "beta": "1.0", "gamma": "2.0"}


def test_constraints_bind_what_is_needed_and_add_nothing(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0", ["beta"])
    for version in ("1.0", "2.0"):
        each_bench.index.add("beta", version)
        each_bench.index.add("unused", version)
    found = each_bench.versions("alpha", constraints=("beta<2", "unused<2"))
    assert found == {"alpha": "1.0", "beta": "1.0"}


def test_markers_are_those_of_the_image(each_bench: Bench) -> None:
    # 3.11.2 is the image's; whatever 3.11 runs this test is newer, and would leave "late" out.
    each_bench.index.add("alpha", "1.0", ['late; python_full_version < "3.11.3"'])
    each_bench.index.add("late", "1.0", ['never; python_full_version >= "3.11.3"'])
    each_bench.index.add("never", "1.0")
    assert each_bench.versions("alpha") == {"alpha": "1.0", "late": "1.0"}


def test_markers_of_the_spec_itself(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("beta", "1.0")
    each_bench.index.add("gamma", "1.0")
    found = each_bench.versions(
        'alpha; python_version >= "3.8"',
        'beta; python_full_version < "3.11.3"',
        'gamma; sys_platform == "win32"',
    )
    assert found == {"alpha": "1.0", "beta": "1.0"}


def test_what_pip_tools_calls_unsafe_is_pinned_as_well(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0", ["setuptools"])
    each_bench.index.add("setuptools", "99.0")
    assert each_bench.versions("alpha") == {"alpha": "1.0", "setuptools": "99.0"}


def test_pins_of_an_edited_lock_are_not_options_for_pip(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("alpha", "2.0")
    pins = {"alpha": "1.0\n--index-url http://127.0.0.1:9/simple", "beta": "1.0"}
    assert each_bench.versions("alpha", pins=pins) == {"alpha": "2.0"}


def test_a_dependency_by_url(bench: Bench, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "links", "beta", "1.0")
    bench.index.add("alpha", "1.0", [f"beta @ {wheel.as_uri()}"])
    assert bench.refusal(ResolutionError, "alpha") == (
        "a dependency that has no version: only wheels from an index can be locked\n"
        f"found: beta @ {wheel.as_uri()}\n"
        "hint: ask for a version of the package that needs it without a URL"
    )


def test_extras_are_followed(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0", ['beta; extra == "more"'])
    each_bench.index.add("beta", "1.0")
    assert each_bench.versions("alpha") == {"alpha": "1.0"}
    assert each_bench.versions("alpha[more]") == {"alpha": "1.0", "beta": "1.0"}


def test_the_wheel_is_the_newest_that_the_base_can_run(each_bench: Bench) -> None:
    machine = TARGET.machine
    for tag in (
        f"manylinux_2_17_{machine}",
        f"manylinux_2_28_{machine}",
        f"manylinux_2_99_{machine}",
    ):
        each_bench.index.add("native", "1.0", tag=f"cp311-cp311-{tag}")
    (found,) = each_bench.resolve("native")
    assert found.wheels[0].name == f"native-1.0-cp311-cp311-manylinux_2_28_{machine}.whl"


def test_hidden_inputs_do_not_count(each_bench: Bench, tmp_path: Path) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("alpha", "2.0")
    (tmp_path / "hidden.txt").write_text("alpha<2\n")
    each_bench.environ |= {
        "PIP_CONSTRAINT": str(tmp_path / "hidden.txt"),
        "PIP_NO_BINARY": ":all:",
        "PYTHONWARNINGS": "error",
        "PYTHONPATH": str(tmp_path / "nowhere"),
    }
    assert each_bench.versions("alpha") == {"alpha": "2.0"}


@pytest.mark.parametrize("section", ["global", "install", "download"])
@pytest.mark.parametrize(
    "setting", ["pre = true", "no-deps = true", "require-hashes = true", "constraint = {hidden}"]
)
def test_nor_do_those_of_pip_conf(bench: Bench, tmp_path: Path, section: str, setting: str) -> None:
    bench.index.add("alpha", "1.0", requires=("beta",))
    bench.index.add("beta", "1.0")
    bench.index.add("beta", "2.0")
    bench.index.add("beta", "3.0rc1")
    (tmp_path / "hidden.txt").write_text("beta<2\n")
    (tmp_path / "pip.conf").write_text(
        f"[{section}]\n{setting.format(hidden=tmp_path / 'hidden.txt')}\n"
    )
    bench.environ["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    assert bench.versions("alpha") == {"alpha": "1.0", "beta": "2.0"}


def test_a_folder_of_wheels_will_do(each_bench: Bench, tmp_path: Path) -> None:
    write_wheel(tmp_path / "links", "alpha", "1.0")
    each_bench.environ = pip_environ(tmp_path / "home", find_links=tmp_path / "links")
    assert each_bench.versions("alpha") == {"alpha": "1.0"}


def test_conflict(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "2.0", ["beta>=2"])
    each_bench.index.add("gamma", "1.0", ["beta<2"])
    each_bench.index.add("middle", "1.0", ["gamma"])
    each_bench.index.add("top", "1.0", ["middle[none]"])
    each_bench.index.add("beta", "1.0")
    each_bench.index.add("beta", "2.0")
    assert each_bench.refusal(ResolutionError, "alpha", "top") == (
        "the dependencies conflict\n"
        "found: the spec -> alpha 2.0 -> beta>=2\n"
        "       the spec -> top -> middle -> gamma 1.0 -> beta<2\n"
        "hint: widen one of these ranges, or remove one of the packages"
    )


def test_conflict_with_the_spec(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "2.0", ["beta>=2"])
    each_bench.index.add("beta", "1.0")
    each_bench.index.add("beta", "2.0")
    assert each_bench.refusal(ResolutionError, "alpha", "beta<2") == (
        "the dependencies conflict\n"
        "found: the spec -> beta<2\n       the spec -> alpha 2.0 -> beta>=2\n"
        "hint: widen one of these ranges, or remove one of the packages"
    )


def test_conflict_with_a_constraint(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "2.0", ["beta>=2"])
    each_bench.index.add("beta", "1.0")
    each_bench.index.add("beta", "2.0")
    assert each_bench.refusal(ResolutionError, "alpha", constraints=("beta<2",)) == (
        "the dependencies conflict\n"
        "found: the spec -> alpha 2.0 -> beta>=2\n       a constraint -> beta<2\n"
        "hint: widen one of these ranges, or remove one of the packages"
    )


def test_no_such_package(each_bench: Bench) -> None:
    assert each_bench.refusal(ResolutionError, "nothere") == (
        "no package 'nothere' in the index\n"
        "hint: check the spelling; a private index is set in pip's settings, "
        "e.g. PIP_EXTRA_INDEX_URL"
    )


def test_no_such_package_asked_for_by_another(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0", ["nothere>=1"])
    assert each_bench.refusal(ResolutionError, "alpha") == (
        "no package 'nothere' in the index, asked for by alpha\n"
        "hint: check the spelling; a private index is set in pip's settings, "
        "e.g. PIP_EXTRA_INDEX_URL"
    )


def test_no_such_version(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("alpha", "2.0")
    assert each_bench.refusal(ResolutionError, "alpha>=7") == (
        'no version satisfies "alpha>=7"\nfound: 1.0, 2.0\nhint: widen the version range'
    )


def test_only_an_sdist(each_bench: Bench) -> None:
    each_bench.index.add_sdist("old", "1.0")
    each_bench.index.add("alpha", "1.0", ["old"])
    assert each_bench.refusal(ResolutionError, "alpha") == (
        'old 1.0 has no wheel, only a source distribution, "old", asked for by alpha\n'
        "found: old-1.0.tar.gz\n"
        "hint: ask for a version with a wheel; or build one (pip wheel --no-deps old==1.0) and "
        "put its folder in PIP_FIND_LINKS"
    )


def test_wheels_for_another_libc_or_python(each_bench: Bench) -> None:
    machine = TARGET.machine
    each_bench.index.add("libc", "1.0", tag=f"cp311-cp311-manylinux_2_99_{machine}")
    each_bench.index.add("other", "1.0", tag="cp39-cp39-win_amd64")
    assert each_bench.refusal(ResolutionError, "libc") == (
        'no wheel for the image satisfies "libc"\n'
        f"expected: Python 3.11, {TARGET.platform}, glibc 2.36\n"
        f"found: libc-1.0-cp311-cp311-manylinux_2_99_{machine}.whl\n"
        "hint: ask for a version of libc that has one, or take a base that can use these"
    )
    assert each_bench.refusal(ResolutionError, "other").startswith(
        'no wheel for the image satisfies "other"\n'
    )


def test_a_package_for_another_python(each_bench: Bench) -> None:
    data = make_wheel("newer", "1.0", requires_python=">=3.12")
    each_bench.index.files["newer"] = {wheel_name("newer", "1.0"): data}
    assert each_bench.refusal(ResolutionError, "newer") == (
        "newer does not run on the Python of the image\n"
        "expected: Python >=3.12\nfound: Python 3.11.2\n"
        "hint: ask for another version of newer"
    )


def test_no_network(each_bench: Bench) -> None:
    each_bench.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    message = each_bench.refusal(OfflineError, "alpha")
    assert message == (
        "the package index cannot be read: 127.0.0.1\n"
        "found: connection refused\n"
        "hint: check the network, the proxy and pip's settings (pip config debug)"
    )


def test_another_python_than_the_machines(bench: Bench) -> None:
    message = bench.refusal(ResolutionError, "alpha", python="3.9.2")
    assert message.startswith(
        "pip-tools resolves for the Python that runs mllock\n"
        "expected: Python 3.9, as environment.python says\n"
    )
    assert bench.index.requests == []


def test_another_platform_than_the_machines(bench: Bench) -> None:
    other = {"linux/amd64": "linux/arm64"}.get(host_platform(), "linux/amd64")
    assert bench.refusal(ResolutionError, "alpha", platform=other) == (
        "pip-tools resolves for the platform that mllock runs on\n"
        f"expected: {other}\nfound: {host_platform()}\n"
        'hint: write resolver = "uv" in [environment]: it resolves for any platform'
    )


def test_what_pip_says_is_told_on_request(bench: Bench) -> None:
    bench.index.add("alpha", "1.0")
    bench.resolve("alpha")
    assert "detail: pip: Successfully downloaded alpha" in bench.reporter.lines
