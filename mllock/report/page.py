"""One run as one HTML page that needs nothing else: no network, no script, no other file.

Order: every text of the run is made visible and cut (`shown`), then escaped by jinja2, and what is
drawn is drawn by the template. The page's Content-Security-Policy allows its one style sheet, by
digest, and nothing else: what an escape might ever miss could neither load nor run. The same facts
give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mllock import __version__
from mllock.core.printable import printable
from mllock.gates.types import Result, Row
from mllock.report.details import Drift, Label, Missing, Slices, details_of
from mllock.report.plots import Plot, bars_of, number, slices_plot
from mllock.report.types import Facts
from mllock.resources import resource

__all__ = ["check_commands", "key_text", "page", "reproduce_commands", "shown"]

TEMPLATE = "report.html.j2"
STYLE = "report.css"

# A page that a browser opens at once, whatever a run holds.
MAX_TEXT = 500
MAX_ITEMS = 500
MAX_RESULTS = 300

_ORDER: Mapping[str, int] = MappingProxyType(
    {"failed": 0, "accepted": 1, "warned": 2, "not judged": 3, "passed": 4}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """A result with what is drawn of it; `known` is False for details in a form of their own."""

    number: int
    result: Result
    plot: Plot | None
    slices: Slices | None = None
    drift: Drift | None = None
    missing: Missing | None = None
    label: Label | None = None
    known: bool = True

    @property
    def pairs(self) -> bool:
        """Whether rows collide with others."""
        return any(len(rows) > 1 for rows in self.result.broken)

    @property
    def has_more(self) -> bool:
        return bool(
            self.result.verdict != "passed" or self.plot or self.result.broken or not self.known
        )


def page(facts: Facts, *, keys: bool = True) -> str:
    """The whole page. Without `keys`, rows are named by their position alone."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["size"] = size
    environment.filters["short"] = lambda digest: str(digest)[:19]
    style = resource("templates", STYLE).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = resource("templates", TEMPLATE).read_text(encoding="utf-8")
    told = [_told(index, result) for index, result in enumerate(facts.results[:MAX_RESULTS], 1)]
    return environment.from_string(text).render(
        facts=facts,
        # Ours, and not of the run: the style sheet is in the page as it is.
        style=Markup(style),  # noqa: S704
        style_digest=digest,
        told=sorted(told, key=lambda one: (_ORDER[one.result.verdict], one.number)),
        results_left_out=max(0, len(facts.results) - MAX_RESULTS),
        counts=_counts(facts),
        keys=keys,
        key_text=key_text,
        reproduce=reproduce_commands(facts),
        check=check_commands(facts),
        limit=MAX_ITEMS,
        version=__version__,
    )


def shown(text: str) -> str:
    """A text of a run as one visible line that is not too long."""
    line = printable(text[: 4 * MAX_TEXT]).replace("\t", " ")
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"


def _finalize(value: Any) -> Any:
    """What an expression of the template gives: markup is the template's own, texts are a run's."""
    if hasattr(value, "__html__"):
        return value
    if isinstance(value, str):
        return shown(value)
    return "" if value is None else value


def size(count: int) -> str:
    """Bytes for people, in decimal units."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def key_text(row: Row) -> str:
    """The key of a row, e.g. `id=17`."""
    return ", ".join(f"{column}={value}" for column, value in row.key.items())


def reproduce_commands(facts: Facts) -> tuple[str, ...]:
    """What a person types to train the same again, in a checkout of the project."""
    commands = []
    if facts.commit is not None:
        note = "  # and the changes that were not committed" if facts.dirty else ""
        commands.append(f"git checkout {shlex.quote(facts.commit)}{note}")
    commands.append(f"cp .mllock/runs/{facts.run}/mlproject.lock mlproject.lock")
    words = [
        word for name, value in facts.params.items() for word in ("--set", f"{name}={_toml(value)}")
    ]
    commands.append(" ".join(["mllock train", *(shlex.quote(word) for word in words)]))
    commands.append(f"mllock diff {facts.run}")
    return tuple(commands)


def check_commands(facts: Facts) -> tuple[str, ...]:
    """What a person types to see that this page, and a deployed model, are what was signed."""
    return (
        f"mllock show {facts.run}",
        f"mllock check path:.mllock/runs/{facts.run}/model --run {facts.run}",
        *(
            f"mllock check TARGET --run {facts.run} --stage {shlex.quote(stage)}"
            for stage in facts.stages
        ),
    )


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counts(facts: Facts) -> dict[str, int]:
    counts: dict[str, int] = {}
    for verdict in _ORDER:
        many = sum(result.verdict == verdict for result in facts.results)
        if many:
            counts[verdict] = many
    return counts


def _told(index: int, result: Result) -> _Told:
    details = details_of(result)
    drawn = result.gate in ("drift.label", "drift.columns", "drift.missing", "leakage.label")
    known = details is not None or not (result.details and (drawn or result.gate == "slices"))
    if isinstance(details, Slices):
        return _Told(number=index, result=result, plot=slices_plot(details), slices=details)
    if details is None:
        return _Told(number=index, result=result, plot=None, known=known)
    return _Told(
        number=index,
        result=result,
        plot=bars_of(details, result.limit),
        drift=details if isinstance(details, Drift) else None,
        missing=details if isinstance(details, Missing) else None,
        label=details if isinstance(details, Label) else None,
    )
