"""A yanked version that gets into a lock is told; what is yanked and not locked is not."""

from __future__ import annotations

import pytest
from support.bench import TARGET, Bench, each_bench
from support.wheels import wheel_name

from mllock.lock.yanked import told, yanked_in

__all__ = ["each_bench"]

NATIVE = f"cp311-cp311-manylinux_2_17_{TARGET.machine}"
ALPHA, BETTER = wheel_name("alpha", "1.0"), wheel_name("alpha", "1.0", NATIVE)


def warnings(bench: Bench, *asked: str, **changes) -> list[str]:
    bench.reporter.lines.clear()
    bench.resolve(*asked, **changes)
    return [line for line in bench.reporter.lines if line.startswith("warn")]


def test_what_is_asked_for_exactly_is_told(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("alpha", "2.0")
    each_bench.index.stated[wheel_name("alpha", "2.0")] = {"yanked": True}
    said = "warn: alpha 2.0 was yanked by those who published it: why"
    assert warnings(each_bench, "alpha==2.0") == [said]
    assert warnings(each_bench, "alpha>=1") == []


def test_another_file_of_the_version_is_not(each_bench: Bench) -> None:
    for tag in ("py3-none-any", NATIVE):
        each_bench.index.add("alpha", "1.0", tag=tag)
    each_bench.index.sized = True
    each_bench.index.stated[BETTER] = {"yanked": "broken on some machines"}
    assert warnings(each_bench, "alpha==1.0") == []
    each_bench.index.stated[ALPHA] = {"yanked": "broken everywhere"}
    (line,) = warnings(each_bench, "alpha==1.0")
    assert line.startswith("warn: alpha 1.0 was yanked by those who published it: broken ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('warning: `Al_Pha==2.0` is yanked (reason: "a "b" c")', {"al-pha 2.0": 'a "b" c'}),
        ("warning: `alpha==2.0` is yanked", {"alpha 2.0": ""}),
        (
            "WARNING: The candidate selected for download or install is a yanked version: 'alpha' "
            "candidate (version 2.0 at https://example.org/alpha.whl (from https://example.org/))"
            "\nReason for being yanked: <none given>\n",
            {"alpha 2.0": ""},
        ),
        ("a package that is yanked", {}),
        (
            'warning: `alpha==2.0` is yanked (reason: "' + "x" * 999 + '")',
            {"alpha 2.0": "x" * 197 + "..."},
        ),
    ],
)
def test_their_words(text: str, expected: dict[str, str]) -> None:
    assert {" ".join(key): why for key, why in yanked_in(text).items()} == expected


def test_the_sentence() -> None:
    assert told("alpha", "2.0", {}) is None
    without = told("alpha", "2.0", {("alpha", "2.0"): ""})
    assert without == "alpha 2.0 was yanked by those who published it"
