"""Facts of a run that hold something bad in every text, and what a page is made of."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any

from mllock.gates.types import Judgement, Result, Row
from mllock.report.types import DataFacts, Facts, FileFacts, SignatureFacts
from mllock.spec.types import Accepted
from support.judged_runs import DATA_RESULTS, MODEL_RESULTS, judgement

DIGEST = "sha256:" + "0" * 64

FACTS = Facts(
    run="20261123-081501-k3f9",
    project="wine-quality",
    version="1.0.0",
    description="How good a wine is.",
    started="2026-11-23T08:15:01Z",
    finished="2026-11-23T08:15:09Z",
    runtime="docker",
    network=False,
    command=("python", "train.py"),
    params={"alpha": 0.5, "seed": 42, "fast": True},
    metrics={"rmse": 0.5},
    evaluations={"test": {"accuracy": 0.93, "recall": 0.85}},
    data=(
        DataFacts(
            name="train", source="train.csv", path="train.csv", files=1, size=1234, tree=DIGEST
        ),
        DataFacts(
            name="test",
            source="hf://datasets/org/wine@main/test.csv",
            path="test.csv",
            files=1,
            size=12,
            tree=DIGEST,
        ),
    ),
    record=DIGEST,
    lock=DIGEST,
    lock_content=DIGEST,
    environment=DIGEST,
    base="debian:bookworm",
    python="3.11.2",
    packages=(("numpy", "2.0.1"), ("scikit-learn", "1.5.0")),
    debs=(("libc6", "2.36"),),
    wheels_locked=2,
    wheels_verified=2,
    code=DIGEST,
    code_files=3,
    commit="a" * 40,
    dirty=False,
    model=DIGEST,
    model_files=(FileFacts(path="model.joblib", size=12345, digest=DIGEST),),
    machine=(("cpu model", "a processor"),),
    judgements=(judgement("data", DATA_RESULTS), judgement("model", MODEL_RESULTS)),
    gates="failed",
    problems=(),
    signatures=(
        SignatureFacts(
            what="record",
            fingerprint="SHA256:abc",
            status="own key",
            reason="signed by this machine's own key",
            trusted=True,
        ),
    ),
    stages={"production": "release 1, released"},
    revoked=None,
    mllock="0.1.0",
)

# What each of the three languages, a terminal and a browser take for something else.
BAD = (
    "</title></style></svg></code><script>hit=1</script>"
    "<img src=http://127.0.0.1:9/x onerror=hit=1>"
    "\"'><a href=javascript:hit=1>a</a>{{7*7}}{%x%}`]](http://127.0.0.1:9/y)"
    "![i](http://127.0.0.1:9/z)"
    " @somebody #1 www.example.org http://example.org |a|b|\n---\n# h\n<!-- --> \u202e\x1b[31m&lt;"
)


def poisoned(value: Any, text: str = BAD) -> Any:
    """The same facts with `text` in the place of every text, and as every name."""
    if isinstance(value, Result):
        # A gate and a verdict are words of ours: a judgement with others does not read.
        return dataclasses.replace(
            value,
            subject=text,
            summary=text,
            broken=poisoned(value.broken, text),
            details=poisoned(dict(value.details), text),
            accepted=poisoned(value.accepted, text),
        )
    if isinstance(value, Accepted):
        return Accepted(gate=text, until=value.until, reason=text)
    if isinstance(value, Judgement):
        return dataclasses.replace(value, results=poisoned(value.results, text))
    if isinstance(value, Facts):
        changed = {
            field.name: poisoned(getattr(value, field.name), text)
            for field in dataclasses.fields(value)
            # Checked before they come here: an ID, states of ours.
            if field.name not in ("run", "gates")
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, DataFacts | FileFacts | SignatureFacts | Row):
        changed = {
            field.name: poisoned(getattr(value, field.name), text)
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {
            key if key in _KEYS else f"{index}{text}": poisoned(inner, text)
            for index, (key, inner) in enumerate(value.items())
        }
    if isinstance(value, tuple | list):
        return type(value)(poisoned(inner, text) for inner in value)
    return value


# The fields of details: without them nothing would be drawn.
_KEYS = frozenset(
    (
        *("column", "columns", "bins", "name", "expected", "found", "psi", "jensen-shannon"),
        *("chance", "features", "power", "metric", "by", "slices", "slice", "rows", "value"),
        *("low", "high", "judged", "difference", "ratio", "source"),
    )
)


class Parts(HTMLParser):
    """The elements, attributes and text of a page, as a parser of HTML sees them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in ("td", "th", "p", "dd", "desc", "title", "summary") else ""

    def handle_data(self, data: str) -> None:
        self.text += data
