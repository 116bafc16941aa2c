"""Sticky layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.locks import package

from mllock.lock.layers import LARGE, assign, python_budget
from mllock.lock.types import LayerGroup, PythonPackage

sizes = st.sampled_from([1, 100, LARGE - 1, LARGE, 5 * LARGE])
installed = st.dictionaries(st.sampled_from("abcdefghij"), sizes).map(
    lambda found: [package(name, size=size) for name, size in found.items()]
)
budgets = st.integers(1, 12)


def groups(*names: str) -> tuple[LayerGroup, ...]:
    return tuple(LayerGroup(packages=tuple(group)) for group in names)


def names(found: list[PythonPackage]) -> list[str]:
    return sorted(item.name for item in found)


def test_large_ones_are_alone_and_small_ones_together() -> None:
    found = [package("a"), package("b", size=LARGE), package("c"), package("d", size=9 * LARGE)]
    assert assign(found, 10) == groups("ac", "b", "d")


def test_what_is_placed_stays() -> None:
    found = [package("a"), package("b", size=LARGE), package("c"), package("d", size=9 * LARGE)]
    assert assign(found, 10, groups("ad", "x")) == groups("acd", "b")
    # "b" was small once; growing does not move it, nor does an update.
    assert assign(found, 10, groups("abc", "d")) == groups("abc", "d")


def test_what_is_new_comes_above() -> None:
    """An engine has a layer by what is below it: what was there keeps its place."""
    found = [package("b", size=LARGE), package("d"), package("m", size=LARGE)]
    old = assign(found, 10)
    assert old == groups("b", "d", "m")
    more = [*found, package("a", size=2 * LARGE), package("c", size=LARGE), package("aa")]
    assert assign(more, 10, old) == (
        *groups("b"),
        LayerGroup(packages=("aa", "d")),
        *groups("m", "a", "c"),
    )
    # As if for the first time, it would be in another order.
    assert assign(more, 10)[0] == groups("a")[0]


def test_a_smaller_budget_keeps_the_lower_place() -> None:
    found = [package(name, size=size * LARGE) for name, size in zip("abc", (2, 9, 1), strict=True)]
    assert assign(found, 2, groups("a", "b", "c")) == groups("ac", "b")
    assert assign(found, 2, groups("c", "b", "a")) == groups("ac", "b")
    assert assign(found, 2, groups("b", "c", "a")) == groups("b", "ac")


def test_a_smaller_budget_moves_the_fewest_bytes() -> None:
    found = [
        package(name, size=size * LARGE) for name, size in zip("abcd", (4, 3, 2, 1), strict=True)
    ]
    assert assign(found, 3) == groups("a", "b", "cd")
    assert assign(found, 1) == groups("abcd")


def test_nothing_is_in_no_layer() -> None:
    assert assign([], 3, groups("ab")) == ()


def test_the_budget_leaves_room_for_the_other_layers() -> None:
    assert (python_budget(60), python_budget(4)) == (54, 1)


@pytest.mark.parametrize("layers", [8, 9, 60, 61, 120])
def test_each_layer_of_packages_has_one_of_bytecode(layers: int) -> None:
    budget = python_budget(layers, bytecode=True)
    # base, system, the standard library's bytecode, code, model, record
    assert layers - 1 <= 2 * budget + 6 <= layers
    assert python_budget(4, bytecode=True) == 1


@given(installed, installed, budgets, budgets)
def test_laws(before, after, first, second) -> None:
    old = assign(before, first)
    new = assign(after, second, old)
    assert sorted(name for group in new for name in group.packages) == names(after)
    assert len(new) <= second
    assert assign(after, second, new) == new
    assert assign(after[::-1], second, old) == new


@given(installed, budgets)
def test_removing_one_package_moves_no_other(found, budget) -> None:
    old = assign(found, budget)
    for gone in found:
        left = [item for item in found if item is not gone]
        kept = [tuple(n for n in group.packages if n != gone.name) for group in old]
        assert [group.packages for group in assign(left, budget, old)] == [k for k in kept if k]


@given(installed, installed)
def test_adding_packages_moves_no_layer(before, after) -> None:
    """While there is room: the layers of before are at the same places, from the bottom up."""
    old = assign(before, 12)
    names = {item.name for item in before}
    new = assign([*before, *(item for item in after if item.name not in names)], 12, old)
    for one, other in zip(old, new, strict=False):
        assert set(one.packages) <= set(other.packages)
    assert len(new) >= len(old)
