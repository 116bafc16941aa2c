"""`mllock show`: one run, with its signature verified."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, printable
from mllock.cli.options import policy_option

if TYPE_CHECKING:
    from mllock.train.record import Record
    from mllock.workflows.judged import Judged
    from mllock.workflows.runs import RunDetails

__all__ = ["command"]


@click.command(
    "show",
    epilog="Example: mllock show 20261123-081501-k3f9",
    short_help="Show one run: inputs, outputs, metrics, signature.",
)
@click.argument("run", metavar="[RUN]", required=False)
@policy_option
@json_option
@click.pass_obj
def command(app: App, run: str | None, policy: Path | None, as_json: bool) -> int:
    """Show RUN (an ID or the start of one; default: the newest good run).

    Its signature is verified. The model's files are not hashed: "mllock check" does that.
    Exit code: 0 trusted, or a failed run; 1 not to be trusted; 3 signed by an unknown key.
    """
    from mllock.workflows.runs import show_run

    details = show_run(app.context(runs_do=True), run, policy)
    if as_json:
        app.print_json(_json(details))
    else:
        for name, value in _lines(details):
            app.print(printable(f"{name:<12} {value}".rstrip()))
    trust = details.trust
    if trust is None or trust.trusted:
        return 0
    return 1 if trust.refuted else 3


def _lines(details: RunDetails) -> list[tuple[str, str]]:
    from mllock.train.gpus import shown_gpus

    lines = [("run", details.run.id)]
    record, trust = details.record, details.trust
    if record is None or trust is None:
        failure = details.failure
        reason = "nothing says why" if failure is None else failure.reason
        return [*lines, ("status", f"failed: {reason}"), ("log", str(details.run.log))]
    lines += [
        ("status", "good"),
        ("signature", f"{trust.status}: {trust.reason}"),
        ("key", trust.fingerprint),
        *([] if details.revoked is None else [("revoked", details.revoked or "no reason given")]),
        *((f"stage {name}", text) for name, text in details.stages.items()),
        ("project", f"{record.project} {record.version}"),
        ("started", record.started),
        ("finished", record.finished),
        ("runtime", f"{record.runtime}, network {'on' if record.network else 'not declared'}"),
        *(("gpu", text) for text in shown_gpus(record.facts)),
        ("command", " ".join(record.command)),
    ]
    lines += [("param", f"{name} = {value}") for name, value in record.params.items()]
    lines += [("metric", f"{name} = {_number(value)}") for name, value in details.metrics.items()]
    lines += _judged(details.judged)
    lines += [
        ("lock", record.lock_content),
        ("environment", record.environment),
        ("wheels", f"{record.wheels_verified} of {record.wheels_locked} equal by hash"),
        ("code", record.code + _commit(record)),
    ]
    if "probes.json" in record.byproducts:
        lines.append(("probes", f"answers recorded, {record.byproducts['probes.json']}"))
    lines += [(f"data {name}", digest) for name, digest in record.data.items()]
    lines += [("model", record.model)]
    lines += [("", f"{name} {digest}") for name, digest in record.model_files.items()]
    return lines


def _judged(found: Judged) -> list[tuple[str, str]]:
    """Evaluations and gates: what did not pass line by line, what passed by number."""
    lines = [
        ("evaluation", f"{evaluation.source}: {name} = {_number(value)}")
        for evaluation in found.evaluations
        for name, value in evaluation.metrics.items()
    ]
    if found.results or found.state != "not judged":
        counts = Counter(result.verdict for result in found.results)
        said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        lines.append(("gates", ": ".join(part for part in (found.state, said) if part)))
    lines += [
        ("gate", f"{result.verdict}: {result.gate}: {result.subject}: {result.summary}")
        for result in found.results
        if result.verdict != "passed"
    ]
    lines += [
        ("judged by", f"{one.trust.fingerprint} ({one.file}): {one.trust.status}")
        for one in found.statements.values()
        if not one.trust.trusted
    ]
    return lines + [("problem", text) for text in found.problems]


def _judged_json(found: Judged) -> dict[str, object]:
    return {
        "evaluations": {one.source: dict(one.metrics) for one in found.evaluations},
        "gates": {
            "state": found.state,
            "results": [
                {
                    "gate": result.gate,
                    "subject": result.subject,
                    "verdict": result.verdict,
                    "summary": result.summary,
                    "measured": result.measured,
                    "limit": result.limit,
                    "rows": result.rows,
                }
                for result in found.results
            ],
            "statements": {
                name: {"status": one.trust.status, "trusted": one.trust.trusted}
                for name, one in found.statements.items()
            },
            "problems": list(found.problems),
        },
    }


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _commit(record: Record) -> str:
    if record.commit is None:
        return " (no commit)"
    return f" (commit {record.commit[:12]}{', changed since' if record.dirty else ''})"


def _json(details: RunDetails) -> dict[str, object]:
    record, trust = details.record, details.trust
    if record is None or trust is None:
        failure = details.failure
        return {
            "run": details.run.id,
            "status": "failed",
            "problem": None if failure is None else failure.reason,
            "log": str(details.run.log),
        }
    return {
        "run": details.run.id,
        "status": "good",
        "path": str(details.run.path),
        "signature": {
            "status": trust.status,
            "trusted": trust.trusted,
            "reason": trust.reason,
            "fingerprint": trust.fingerprint,
        },
        "stages": dict(details.stages),
        "revoked": None if details.revoked is None else {"reason": details.revoked},
        "project": record.project,
        "version": record.version,
        "started": record.started,
        "finished": record.finished,
        "runtime": record.runtime,
        "network": record.network,
        "command": list(record.command),
        "params": dict(record.params),
        "metrics": dict(details.metrics),
        **_judged_json(details.judged),
        "lock": record.lock_content,
        "environment": record.environment,
        "wheels": {"locked": record.wheels_locked, "verified": record.wheels_verified},
        "code": {"digest": record.code, "commit": record.commit, "dirty": record.dirty},
        "data": dict(record.data),
        "probes": record.byproducts.get("probes.json"),
        "model": record.model,
        "files": dict(record.model_files),
        "facts": dict(record.facts),
    }
