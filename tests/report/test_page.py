"""The page: what it says, what it is made of, and what a hostile run can do to it: nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

import pytest
from support.judged_runs import DATA_RESULTS, MODEL_RESULTS, judgement
from support.reports import BAD, FACTS, Parts, poisoned

from mllock.gates.types import Result
from mllock.report.page import page, reproduce_commands, shown
from mllock.spec.types import Accepted

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p"),
    *("code", "dl", "div", "dt", "dd", "nav", "ul", "li", "main", "section", "table", "thead"),
    *("tbody", "tr", "th", "td", "caption", "details", "summary", "span", "figure", "svg", "desc"),
    *("line", "text", "rect", "path", "circle", "figcaption", "pre", "footer"),
}


def text_of(html: str) -> str:
    return " ".join(Parts(html).text.split())


def test_what_it_says() -> None:
    text = text_of(page(FACTS))
    for said in (
        "wine-quality 1.0.0",
        "1 failed, 1 accepted, 3 warned, 1 not judged, 2 passed",
        "2 rows of test are in train; measured 0.02, limit 0. It stops a release.",
        "Accepted through 2027-01-01 by an exception for leakage: known before the decision",
        "sex=f, region=north 120 0.71 0.64 0.78 yes",
        "sex=f, region=south 12 0.5 0.2 0.8 no: too few rows",
        "Largest difference: 0.2 (from 0.11 to 0.29); ratio of the worst to the best: 0.78",
        "recall of each slice with its confidence interval. sex=f, region=north: 0.71, 0.64 to",
        "2 rows broke it Row With train, row 3 (id=p-17) test, row 1 (id=p-93)",
        "id=p-17",
        "mllock train --set alpha=0.5 --set seed=42 --set fast=true",
        "production: release 1, released",
    ):
        assert said in text


def test_commands_stand_line_by_line() -> None:
    html = page(FACTS)
    first = "\n".join(reproduce_commands(FACTS))
    assert f"<code>{first}\n</code></pre>" in html


def test_without_keys() -> None:
    text = text_of(page(FACTS, keys=False))
    assert "p-17" not in text
    assert "Rows are named by position; no other value of a row is kept." in text


def test_the_same_bytes() -> None:
    assert page(FACTS) == page(dataclasses.replace(FACTS))
    assert page(FACTS) != page(dataclasses.replace(FACTS, version="1.0.1"))


def test_a_hostile_run_writes_no_markup() -> None:
    html = page(poisoned(FACTS))
    parts = Parts(html)
    assert parts.tags <= TAGS
    for name, value in parts.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "style", "srcset", "action", "formaction", "xlink:href")
        if name == "href":
            assert re.fullmatch(r"#[a-z0-9-]+", value), value
        if name in ("id", "class", "for"):
            assert re.fullmatch(r"[a-z0-9 -]+", value), value
    assert "\u202e" not in html
    assert "\x1b" not in html
    # It is shown as the text that it is, and no template is run twice.
    assert parts.text.count("<script>hit=1</script>") > 40
    assert "{{7*7}}" in parts.text
    assert Parts(f"<p onclick=x>{BAD}").tags - TAGS == {"script", "img"}  # it would have been seen


def test_the_policy_allows_its_own_style_alone() -> None:
    html = page(FACTS)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert html.count("<style") == 1
    assert "http://" not in html
    assert "https://" not in html


def test_a_page_stays_small() -> None:
    many = dataclasses.replace(
        FACTS,
        packages=tuple((f"package-{n}", "1" * 10_000) for n in range(20_000)),
        metrics={f"m{n}": float(n) for n in range(20_000)},
        params={f"p{n}": "x" * 10_000 for n in range(2_000)},
        problems=tuple("x" * 10_000 for _ in range(2_000)),
        judgements=(judgement("data", DATA_RESULTS * 500),),
    )
    html = page(many)
    assert len(html) < 3_000_000
    assert "19500 more are not shown." in html
    assert "2200 more results are not shown." in html


def result(gate: str, details: dict[str, Any]) -> Result:
    return dataclasses.replace(MODEL_RESULTS[1], gate=gate, details=details)


@pytest.mark.parametrize(
    ("gate", "details"),
    [
        ("slices", {"metric": "recall", "by": ["sex"], "slices": "none"}),
        ("slices", {"slices": []}),
        ("drift.label", {"column": "a", "bins": [{"name": "x"}]}),
        ("leakage.label", {"features": [{"name": "a", "power": "much"}]}),
        ("drift.missing", {"columns": [1]}),
    ],
)
def test_details_in_another_form_are_said_to_be(gate: str, details: dict[str, Any]) -> None:
    facts = dataclasses.replace(FACTS, judgements=(judgement("model", [result(gate, details)]),))
    html = page(facts)
    assert "Its details are in a form that this version does not draw." in html
    assert "<svg" not in html


@pytest.mark.parametrize(
    "value",
    [0.0, 1.0, -1.0, 1e-320, 1e-12, 1e12, 1e300, 1.7e308, -1.7e308],
)
def test_any_number_is_a_page(value: float) -> None:
    """No number that JSON can hold breaks a plot."""
    details = {
        "metric": "m",
        "by": ["a"],
        "slices": [
            {"slice": {"a": "x"}, "rows": 1, "value": value, "low": -value, "high": 0.5},
            {"slice": {"a": "y"}, "rows": 1, "value": value},
            {"slice": {"a": "z"}, "rows": 1},
        ],
    }
    drift = {"column": "a", "bins": [{"name": "x", "expected": value, "found": 0.1}]}
    label = {"features": [{"name": "x", "power": value}]}
    for gate, form in (("slices", details), ("drift.label", drift), ("leakage.label", label)):
        facts = dataclasses.replace(FACTS, judgements=(judgement("model", [result(gate, form)]),))
        html = page(facts)
        assert "nan" not in html.replace("Fernando", "")
        assert "does not draw" not in html
        places = re.findall(r' (?:x|x1|cx|width)="([-0-9.e+]+)"', html)
        assert all(-1 <= float(place) <= 1_000 for place in places)


def test_nothing_was_judged() -> None:
    text = text_of(page(dataclasses.replace(FACTS, judgements=(), gates="not judged")))
    assert "Nothing was judged. mllock gates asks the data, mllock evaluate the model." in text


def test_an_exception_says_its_end() -> None:
    ended = Accepted(gate="leakage", until=dt.date(2026, 1, 2), reason="because")
    one = dataclasses.replace(DATA_RESULTS[1], accepted=ended)
    facts = dataclasses.replace(FACTS, judgements=(judgement("data", [one]),))
    assert "Accepted through 2026-01-02 by an exception for leakage: because" in text_of(
        page(facts)
    )


def test_commands_are_quoted() -> None:
    facts = dataclasses.replace(
        FACTS, params={"a": "x; rm -rf ~", "b": False}, dirty=True, stages={"it's": "x"}
    )
    assert reproduce_commands(facts) == (
        f"git checkout {'a' * 40}  # and the changes that were not committed",
        "cp .mllock/runs/20261123-081501-k3f9/mlproject.lock mlproject.lock",
        "mllock train --set 'a=x; rm -rf ~' --set b=false",
        "mllock diff 20261123-081501-k3f9",
    )


def test_shown_is_one_line_that_ends() -> None:
    assert shown("a\nb\u202e") == "a\\nb\\u202e"
    assert len(shown("x" * 10_000_000)) == 501
    assert shown("https://user:secret@example.org/") == "https://***@example.org/"
