"""One run as a model card, with the metadata block that the Hugging Face hub reads.

https://github.com/huggingface/hub-docs, modelcard.md and datasetcard. Nothing is guessed: a licence
and a task are named by who writes the card, or left out. A card is made to be published: it names
no row and no key. The same facts give the same text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from mllock.report.markdown import code, plain, table
from mllock.report.page import check_commands, reproduce_commands, shown
from mllock.report.plots import number
from mllock.report.types import DataFacts, Facts

__all__ = ["LIBRARIES", "card"]

_Value = TypeVar("_Value")

# Package -> the hub's name of the library. The first that is locked is it.
LIBRARIES = (
    ("transformers", "transformers"),
    ("sentence-transformers", "sentence-transformers"),
    ("diffusers", "diffusers"),
    ("keras", "keras"),
    ("torch", "pytorch"),
    ("tensorflow", "tf-keras"),
    ("scikit-learn", "sklearn"),
)
HUB = "hf://datasets/"
MAX_ITEMS = 200
_UNKNOWN = ", by a key that whoever wrote this card does not trust"


def card(facts: Facts, *, licence: str | None = None, task: str = "other") -> str:
    """The whole card: YAML between two lines of three dashes, then text for people."""
    import yaml

    block = yaml.safe_dump(
        _metadata(facts, licence, task), sort_keys=False, allow_unicode=True, width=10_000
    )
    return f"---\n{block}---\n\n{_text(facts)}"


def _metadata(facts: Facts, licence: str | None, task: str) -> dict[str, Any]:
    locked = {name for name, _ in facts.packages}
    library = next((hub for package, hub in LIBRARIES if package in locked), None)
    datasets = sorted({found for one in facts.data if (found := _hub_name(one))})
    results = _results(facts, task)
    metrics = sorted({metric["type"] for result in results for metric in result["metrics"]})
    block = {
        "license": licence,
        "library_name": library,
        "tags": ["mllock"],
        "datasets": datasets or None,
        "metrics": metrics or None,
        "model-index": [{"name": shown(facts.project), "results": results}] if results else None,
    }
    return {key: value for key, value in block.items() if value is not None}


def _results(facts: Facts, task: str) -> list[dict[str, Any]]:
    """Of each test source; of a run without evaluations, what training wrote."""
    if facts.evaluations:
        measured = [(source, dict(values)) for source, values in _first(facts.evaluations)]
    else:
        measured = [("", dict(facts.metrics))]
    by_name = {one.name: one for one in facts.data}
    out = []
    for source, values in measured:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if not finite:
            continue
        pinned = by_name.get(source)
        hub = None if pinned is None else _hub_name(pinned)
        dataset = {
            "name": shown(source or f"{facts.project} training run"),
            "type": hub or shown(source or facts.project),
        }
        if pinned is not None:
            dataset["revision"] = pinned.tree
        out.append(
            {
                "task": {"type": task},
                "dataset": dataset,
                "metrics": [
                    {"type": shown(name), "value": value, "name": shown(name)}
                    for name, value in _first(finite)
                ],
            }
        )
    return out


def _hub_name(data: DataFacts) -> str | None:
    """ORG/NAME of a source on the hub, whatever file and revision of it."""
    if not data.source.startswith(HUB):
        return None
    parts = data.source.removeprefix(HUB).split("/")
    return "/".join([parts[0], parts[1].partition("@")[0]]) if len(parts) > 1 else None


def _text(facts: Facts) -> str:
    lines = [f"# {plain(facts.project)} {plain(facts.version)}", ""]
    if facts.description:
        lines += [plain(facts.description), ""]
    lines += [
        f"Trained by run {code(facts.run)}, {plain(facts.started)}, from a lock that pins base, "
        f"system packages, {len(facts.packages)} Python packages and data. The record of what went "
        f"in and what came out is signed{'' if facts.signatures[0].trusted else _UNKNOWN}.",
        "",
        "## Training data",
        "",
        *table(
            ("Source", "From", "Digest"),
            ((plain(one.name), code(one.source), code(one.tree)) for one in facts.data[:MAX_ITEMS]),
        ),
    ]
    if facts.all_metrics:
        lines += ["## Evaluation", ""]
        lines += table(
            ("Metric", "Value"),
            ((code(name), number(value)) for name, value in _first(facts.all_metrics)),
        )
    lines += ["## Bias, risks and limitations", "", *_gates(facts)]
    lines += ["## Params", ""] if facts.params else []
    if facts.params:
        lines += table(
            ("Param", "Value"), ((code(name), code(value)) for name, value in _first(facts.params))
        )
    lines += [
        "## Environment",
        "",
        f"{plain(facts.base)} with Python {plain(facts.python)}; environment digest "
        f"{code(facts.environment)}.",
        "",
        "## Reproduce and check",
        "",
        "```sh",
        *(
            shown(one).replace("```", "'''")
            for one in (*reproduce_commands(facts), *check_commands(facts))
        ),
        "```",
        "",
        f"Model digest: {code(facts.model)}",
    ]
    return "\n".join(lines) + "\n"


def _gates(facts: Facts) -> list[str]:
    if not facts.results:
        return ["Nothing was judged: no gate was asked about this model or its data.", ""]
    rows = [
        (
            plain(one.verdict),
            plain(f"{one.gate}: {one.subject}"),
            plain(one.summary)
            + (
                f" (accepted through {one.accepted.until}: {plain(one.accepted.reason)})"
                if one.accepted
                else ""
            ),
        )
        for one in facts.results[:MAX_ITEMS]
    ]
    return [
        f"Gates: {plain(facts.gates)}.",
        "",
        *table(("Verdict", "Gate", "What was found"), rows),
    ]


def _first(values: Mapping[str, _Value]) -> list[tuple[str, _Value]]:
    """What a card has room for."""
    return list(itertools.islice(values.items(), MAX_ITEMS))
