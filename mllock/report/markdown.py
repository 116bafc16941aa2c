"""One run as a comment for a pull request: verdicts first, everything long folded away.

GitHub's dialect. Texts of a run mean nothing there: what could be markup, a mention, a link or HTML
is written as character references, which stand for themselves and for no structure
(CommonMark 0.31, "Entity and numeric character references"). The same facts give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mllock.gates.types import Result, Row
from mllock.report.page import check_commands, key_text, reproduce_commands, shown
from mllock.report.plots import number
from mllock.report.types import Facts

__all__ = ["code", "markdown", "plain", "table"]

# GitHub cuts comments at 65,536 characters.
MAX_RESULTS = 60
MAX_ROWS = 5
MAX_METRICS = 60

_SPECIAL = re.compile(r"[^\w\s.,;:=+%/'\"()!?-]|:(?![\s\d]|$)|(?<!\w)_|_(?!\w)")
# What begins a list, a heading or a rule begins none; "www." begins no link.
_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?:\s|$)))|(?i:\bwww(?=\.))")
_MARKS = {
    "failed": "❌ failed",
    "damaged": "❌ damaged",
    "warned": "⚠️ warned",
    "accepted": "⚠️ accepted",
    "not trusted": "❌ not trusted",
    "not judged": "❔ not judged",
    "passed": "✅ passed",
}


def plain(text: object) -> str:
    """A text of a run, as it is and nothing else."""
    line = _SPECIAL.sub(_reference, shown(str(text)).strip())
    return _START.sub(_reference, line)


def _reference(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(char)};" for char in found[0])


def code(text: object) -> str:
    """The same as a code span, whose fence is longer than any in the text."""
    line = shown(str(text))
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in line or not line.strip() else ""
    return f"{fence}{space}{line}{space}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    # GFM, "Tables": a pipe inside of a cell is escaped, in code as well.
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (header, *rows)]
    lines.insert(1, " | ".join("---" for _ in header))
    return [*(f"| {line} |" for line in lines), ""]


def markdown(facts: Facts, *, keys: bool = False) -> str:
    """The whole comment. Rows are named by position, and with `keys` by key."""
    counts: dict[str, int] = {}
    for result in facts.results:
        counts[result.verdict] = counts.get(result.verdict, 0) + 1
    said = ", ".join(f"{many} {verdict}" for verdict, many in counts.items())
    lines = [
        f"### {plain(facts.project)} {plain(facts.version)}: run {code(facts.run)}",
        "",
        f"**Gates: {_MARKS.get(facts.gates, facts.gates)}**{f' ({said})' if said else ''} · "
        f"signature: {_signature(facts)} · "
        f"released: {_released(facts)}",
        "",
    ]
    lines += [f"- ❌ {plain(problem)}" for problem in facts.problems]
    lines += [""] if facts.problems else []
    lines += _gates(facts, keys=keys)
    metrics = list(facts.all_metrics.items())
    if metrics:
        lines += table(
            ("Metric", "Value"),
            ((code(name), number(value)) for name, value in metrics[:MAX_METRICS]),
        )
        if len(metrics) > MAX_METRICS:
            lines += [f"{len(metrics) - MAX_METRICS} more are not shown.", ""]
    lines += (
        _folded(
            "Params",
            table(
                ("Param", "Value"),
                (
                    (code(name), code(_scalar(value)))
                    for name, value in list(facts.params.items())[:MAX_METRICS]
                ),
            ),
        )
        if facts.params
        else []
    )
    lines += _folded("Lineage", table(("What", "Digest"), _lineage(facts)))
    commands = [*reproduce_commands(facts), *check_commands(facts)]
    lines += _folded(
        "Reproduce and check",
        ["```sh", *(shown(c).replace("```", "'''") for c in commands), "```", ""],
    )
    return "\n".join(lines).rstrip("\n") + "\n"


def _gates(facts: Facts, *, keys: bool) -> list[str]:
    if not facts.results:
        return ["Nothing was judged.", ""]
    bad = [one for one in facts.results if one.verdict != "passed"]
    good = [one for one in facts.results if one.verdict == "passed"]
    lines = []
    header = ("Verdict", "Gate", "About", "Measured", "Limit", "What was found")
    if bad:
        lines += table(header, (_result(one) for one in bad[:MAX_RESULTS]))
        if len(bad) > MAX_RESULTS:
            lines += [f"{len(bad) - MAX_RESULTS} more are not shown.", ""]
    for one in bad[:MAX_RESULTS]:
        if one.broken:
            more = "" if one.rows <= MAX_ROWS else f", the first {min(MAX_ROWS, len(one.broken))}"
            items = [f"- {_rows(rows, keys=keys)}" for rows in one.broken[:MAX_ROWS]]
            title = f"{plain(one.gate)}: {plain(one.subject)}: {one.rows} rows{more}"
            lines += _folded(title, [*items, ""])
    if good:
        rows = [_result(one) for one in good[:MAX_RESULTS]]
        lines += _folded(f"{len(good)} passed", table(header, rows))
    return lines


def _result(result: Result) -> tuple[str, ...]:
    end = ""
    if result.accepted is not None:
        end = f" (accepted through {result.accepted.until}: {plain(result.accepted.reason)})"
    return (
        _MARKS[result.verdict],
        plain(result.gate),
        plain(result.subject),
        number(result.measured),
        number(result.limit),
        plain(result.summary) + end,
    )


def _rows(rows: Sequence[Row], *, keys: bool) -> str:
    def one(row: Row) -> str:
        file = f" of {code(row.file)}" if row.file else ""
        key = f" ({code(key_text(row))})" if keys and row.key else ""
        return f"row {row.row}{file} in {code(row.source)}{key}"

    return ", with ".join(one(row) for row in rows)


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "</details>", ""]


def _lineage(facts: Facts) -> list[tuple[str, str]]:
    commit = "no commit" if facts.commit is None else f"commit {facts.commit[:12]}"
    dirty = ", changed since" if facts.dirty else ""
    return [
        (f"Code ({commit}{dirty})", code(facts.code)),
        *((f"Data {plain(one.name)}", code(one.tree)) for one in facts.data[:MAX_METRICS]),
        ("Lock", code(facts.lock_content)),
        ("Environment", code(facts.environment)),
        ("Record", code(facts.record)),
        ("Model", code(facts.model)),
    ]


def _signature(facts: Facts) -> str:
    record = facts.signatures[0]
    return plain(record.status) if record.trusted else f"**❌ {plain(record.status)}, not trusted**"


def _released(facts: Facts) -> str:
    if facts.revoked is not None:
        return "revoked"
    return (
        "; ".join(f"{plain(stage)}: {plain(text)}" for stage, text in facts.stages.items()) or "no"
    )


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
