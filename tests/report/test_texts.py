"""The comment for pull requests and the model card, read as those who get them read them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt
from support.reports import BAD, DIGEST, FACTS, Parts, poisoned

from mllock.report.card import card
from mllock.report.markdown import code, markdown, plain, table
from mllock.report.types import DataFacts

TAGS = {
    *("h1", "h2", "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "pre"),
    *("ul", "li", "details", "summary", "hr"),
}


def rendered(text: str) -> Parts:
    """As GitHub and the hub render it: with HTML, tables and links."""
    return Parts(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def test_the_comment() -> None:
    text = markdown(FACTS)
    assert text.startswith(
        "### wine-quality 1.0.0: run `20261123-081501-k3f9`\n"
        "\n"
        "**Gates: ❌ failed** (1 failed, 1 accepted, 2 passed, 3 warned, 1 not judged) · "
        "signature: own key · released: production: release 1, released\n"
        "\n"
        "| Verdict | Gate | About | Measured | Limit | What was found |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| ❌ failed | leakage.rows | train, test | 0.02 | 0 | 2 rows of test are in train |\n"
    )
    assert "- row 3 in `train`, with row 1 in `test`\n" in text
    assert "p-17" not in text
    assert "- row 3 in `train` (`id=p-17`), with row 1 in" in markdown(FACTS, keys=True)
    assert rendered(text).tags <= TAGS
    assert text == markdown(dataclasses.replace(FACTS))


@pytest.mark.parametrize("write", [markdown, lambda facts: card(facts).split("---\n")[2]])
def test_a_hostile_run_writes_no_markdown(write: Any) -> None:
    for bad in (BAD, *BAD.split(), "a\n\n# h", "    x", "- a", "1. a", "***", "```\n", "[a]: /b"):
        parts = rendered(write(poisoned(FACTS, bad)))
        assert parts.tags <= TAGS, (bad, parts.tags - TAGS)
        assert parts.attributes <= {("class", "language-sh")}
    assert {"img", "script", "a"} <= rendered(BAD).tags  # it would have been seen


@pytest.mark.parametrize(
    "text",
    [
        *("a|b", "`", "``a`", " a ", "_a_", "a_b", "<b>", "&lt;", "@a", "#1", "http://a.b"),
        *("1. a", "- a", "+ a", "= a", "a: b", ":tada:", "~~a~~", "\\", "*a*", "[a](b)"),
        *("www.a.b", "![a](b)", "1.", "1.2.3", "> a", "    a"),
    ],
)
def test_a_text_stays_itself(text: str) -> None:
    """What is read is what was written, as text and as code, alone and in a table."""
    for written in (plain(text), code(text)):
        assert rendered(written).text.strip() == text.strip()
        cell = rendered("\n".join(table(("h",), [(written,)]))).text.split("\n")
        assert text.strip() in [line.strip() for line in cell]


def test_no_link_of_githubs_own_making() -> None:
    """GFM, "Autolinks (extended)", and mentions: these need characters that are not there."""
    for text in ("www.example.org", "http://example.org", "a@example.org", "@somebody", "#12"):
        written = plain(text)
        assert "www." not in written
        assert "://" not in written
        assert "@" not in written
        assert "#1" not in written.replace("&#1", "")


def load(text: str, folder: Path) -> ModelCard:
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return ModelCard.load(path)


def test_the_card_is_one_of_the_hub(tmp_path: Path) -> None:
    found = load(card(FACTS, licence="apache-2.0", task="tabular-classification"), tmp_path)
    data = found.data
    assert (data.license, data.library_name, data.tags) == ("apache-2.0", "sklearn", ["mllock"])
    assert (data.datasets, data.metrics) == (["org/wine"], ["accuracy", "recall"])
    assert data.model_name == "wine-quality"
    common = {
        "task_type": "tabular-classification",
        "dataset_type": "org/wine",
        "dataset_name": "test",
        "dataset_revision": DIGEST,
    }
    assert data.eval_results == [
        EvalResult(**common, metric_type="accuracy", metric_name="accuracy", metric_value=0.93),
        EvalResult(**common, metric_type="recall", metric_name="recall", metric_value=0.85),
    ]
    assert found.content == card(FACTS, licence="apache-2.0", task="tabular-classification")
    # What it writes again is what was read.
    name, results = model_index_to_eval_results(data.to_dict()["model-index"])
    assert (name, results) == ("wine-quality", data.eval_results)


def test_a_card_names_no_row() -> None:
    text = card(FACTS)
    assert "p-17" not in text
    assert "row 3" not in text
    assert "| failed | leakage.rows: train, test | 2 rows of test are in train |" in text


def test_a_card_guesses_nothing(tmp_path: Path) -> None:
    bare = dataclasses.replace(
        FACTS, evaluations={}, metrics={"rmse": math.inf}, packages=(), data=()
    )
    data = load(card(bare), tmp_path).data
    assert data.to_dict() == {"tags": ["mllock"]}
    own = dataclasses.replace(FACTS, evaluations={}, metrics={"rmse": 0.5})
    (result,) = load(card(own), tmp_path).data.eval_results
    assert (result.task_type, result.dataset_name, result.metric_value) == (
        "other",
        "wine-quality training run",
        0.5,
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("hf://datasets/org/wine@main/test.csv", "org/wine"),
        ("hf://datasets/org/wine/a/b.csv", "org/wine"),
        ("hf://datasets/org", None),
        ("https://example.org/datasets/org/wine", None),
        ("data/train.csv", None),
    ],
)
def test_datasets_of_the_hub(source: str, name: str | None, tmp_path: Path) -> None:
    one = DataFacts(name="test", source=source, path="x", files=1, size=1, tree=DIGEST)
    data = load(card(dataclasses.replace(FACTS, data=(one,))), tmp_path).data
    assert data.to_dict().get("datasets") == (None if name is None else [name])


def test_a_hostile_card_has_the_same_keys(tmp_path: Path) -> None:
    for bad in (
        BAD,
        "---",
        "a\n---\nlicense: mit",
        "- a: b",
        "!!python/object:os.system",
        "{a: b}",
    ):
        data = load(card(poisoned(FACTS, bad)), tmp_path).data.to_dict()
        assert set(data) == {"tags", "metrics", "model-index"}
        assert data["tags"] == ["mllock"]


def test_texts_stay_small() -> None:
    many = dataclasses.replace(
        FACTS,
        metrics={f"m{n}": float(n) for n in range(20_000)},
        params={f"p{n}": n for n in range(20_000)},
        data=FACTS.data * 2_000,
    )
    # GitHub cuts a comment at 65,536 characters.
    assert len(markdown(many)) < 65_536
    assert len(card(many)) < 200_000
