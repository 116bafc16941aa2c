"""How far two samples are apart, against SciPy's measures and against chance."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2

from mllock.gates.distance import (
    Bin,
    chance,
    chi_square,
    distance,
    jensen_shannon,
    psi,
)

COUNTS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=30
).filter(lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0)


def apart(expected, found, numeric=True):
    return distance(
        pl.Series("c", expected), pl.Series("c", found), text=(False, False), numeric=numeric
    )


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 10, 50, 99])
@pytest.mark.parametrize("part", [0.5, 0.95, 0.999, 0.999999])
def test_quantiles_of_chi_square(part, degrees):
    assert chi_square(part, degrees) == pytest.approx(chi2.ppf(part, degrees), rel=1e-9)


@given(pairs=COUNTS)
def test_jensen_shannon_is_scipys_of_base_2(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(a, b, base=2), abs=1e-6)
    assert jensen_shannon(a, b) == jensen_shannon(b, a)
    assert 0 <= jensen_shannon(a, b) <= 1 + 1e-9


@given(pairs=COUNTS)
def test_psi_is_both_relative_entropies_together(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    p, q = ((np.array(side) + 0.5) / (np.array(side) + 0.5).sum() for side in (a, b))
    expected = (p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()
    assert psi(a, b) == pytest.approx(expected, abs=1e-9)
    assert psi(a, a) == 0


def test_numbers_are_compared_by_tenths_of_the_expected_side():
    found = apart(list(range(1000)), [place % 90 for place in range(500)] + [*range(2000, 2500)])
    assert [item.expected for item in found.bins] == [100] * 10
    assert [item.found for item in found.bins] == [500, *[0] * 8, 500]
    assert [item.name for item in found.bins][:2] == ["below 100", "100 to 200"]
    assert found.bins[-1].name == "900 and above"
    assert found.chance == pytest.approx((1 / 1000 + 1 / 1000) * chi2.ppf(0.999, 9))
    assert found.psi > 1


def test_a_frequent_number_is_a_bin_and_the_others_are_fewer():
    assert apart([*range(1, 30)] + [0] * 971, [0] * 1000).bins == (
        Bin(name="0", expected=971, found=1000),
        Bin(name="above 0", expected=29, found=0),
    )
    assert [item.name for item in apart([*range(200)] + [0] * 400, [0] * 600).bins] == [
        "0",
        "above 0 to 67",
        "67 to 133",
        "133 and above",
    ]
    # In the middle, and frequent on the other side alone.
    assert apart([*range(100)], [42] * 90 + [0] * 10).bins[4:8] == (
        Bin(name="39 to 42", expected=3, found=0),
        Bin(name="42", expected=1, found=90),
        Bin(name="above 42 to 50", expected=7, found=0),
        Bin(name="50 to 60", expected=10, found=0),
    )


@pytest.mark.parametrize("most", [0.0, -7.5, 1e300, math.inf, -math.inf])
@pytest.mark.parametrize("part", [0.4, 0.93, 0.995])
def test_what_replaces_a_frequent_number_is_found(part, most):
    rng = np.random.default_rng(3)
    expected = np.where(rng.random(5000) < part, most, rng.uniform(1, 9, 5000))
    other = np.where(rng.random(5000) < part, most, rng.uniform(1, 9, 5000))
    assert apart(expected, other).psi <= apart(expected, other).chance
    for found in (np.full(5000, 500.5), rng.uniform(500, 501, 5000)):
        assert apart(expected, found).psi > 1
        assert apart(found, expected).psi > 1


def test_one_bin_tells_nothing_but_of_one_value():
    same = apart([2.5] * 10, [2.5] * 10)
    assert (len(same.bins), same.psi, same.chance) == (1, 0.0, 0.0)
    names = [f"a{place}" for place in range(500)]
    others = [f"b{place}" for place in range(500)]
    found = apart(names, others, numeric=False)
    assert found.bins == (Bin(name="(others)", expected=500, found=500),)
    assert found.chance == math.inf


def test_few_numbers_are_compared_by_value():
    found = apart([0, 1, 1, 2] * 100, [0, 1, 2, 2] * 100)
    assert found.bins == (
        Bin(name="1", expected=200, found=100),
        Bin(name="2", expected=100, found=200),
        Bin(name="0", expected=100, found=100),
    )


def test_rare_values_are_one_bin():
    expected = ["a"] * 960 + [f"r{place}" for place in range(40)]
    found = apart(expected, ["a"] * 970 + ["b"] * 30, numeric=False)
    assert found.bins == (
        Bin(name="a", expected=960, found=970),
        Bin(name="b", expected=0, found=30),
        Bin(name="(others)", expected=40, found=0),
    )


def test_what_is_missing_is_not_counted_here():
    assert apart(["a", None] * 50, ["a"] * 50, numeric=False).bins == (
        Bin(name="a", expected=50, found=50),
    )
    assert apart([1.5, float("nan")] * 50, [1.5] * 50).psi == 0


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], []), ([1.0] * 9, [2.0] * 9), ([], [])])
def test_too_few_to_tell(sides):
    assert apart(*sides).chance == math.inf


def test_chance_passes_its_limit_once_in_a_thousand():
    """1,000 pairs of samples of one distribution, of sizes and kinds as they come."""
    rng = np.random.default_rng(7)
    above = 0
    for round_ in range(1000):
        n, m = rng.integers(100, 2000, 2)
        if round_ % 4 == 1:
            found = apart(rng.normal(size=n), rng.normal(size=m))
        elif round_ % 4 == 3:
            part = rng.choice([0.1, 0.5, 0.93, 0.99])
            found = apart(
                *(np.where(rng.random(k) < part, 0, rng.exponential(size=k)) for k in (n, m))
            )
        else:
            parts = [0.5, 0.3, 0.15, 0.05]
            found = apart(rng.choice(4, n, p=parts), rng.choice(4, m, p=parts))
        above += found.psi > found.chance
    assert above <= 5


def test_chance_of_one_side_without_rows():
    assert chance(0, 10, 3) == math.inf
