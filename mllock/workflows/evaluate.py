"""`mllock evaluate`: a trained model judged by every test source, in its own environment.

Order: spec and lock, the run and its model (held against its record), the data by content, code,
environment; the program once for each test source, its data again after each; then the gates, of
data and files that are held still meanwhile; then the statements, and one publication: what was
there before is replaced as a whole. Until then the run is as it was. A program that fails, is
interrupted or writes no metrics leaves its log as `evaluation-failed.log`, and nothing else. Raises
the errors of its rooms, and KeyboardInterrupt when the user interrupted the program.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.attest.policy import load_policy
from mllock.attest.test_result import make_test_result
from mllock.core.digest import sha256_of
from mllock.errors import AnswerNoError, ProgramError, SpecError, VoidRunError
from mllock.gates.config import is_declared
from mllock.gates.evaluation import (
    EVALUATION_BUNDLE,
    EVALUATION_FOLDER,
    Evaluated,
    evaluation_statement,
)
from mllock.gates.types import Judgement
from mllock.processes import held_interrupts
from mllock.spec.command import resolve
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.train.outputs import read_metrics, take_predictions
from mllock.train.plan import PARAMS_FILE
from mllock.train.record import Record
from mllock.train.runs import RunFolder, new_run_id
from mllock.train.types import Evaluation, RunPlan, Runtime
from mllock.workflows.context import Context
from mllock.workflows.gpus import granted_gpus
from mllock.workflows.inputs import (
    ended_well,
    look_at_data,
    refuse_meddling,
    select_identity,
    verify_data,
    verify_data_again,
)
from mllock.workflows.judging import judge_own, judge_run, prepare_gates, publish_judgement
from mllock.workflows.own_places import refuse_led_out
from mllock.workflows.runs import run_of_lock
from mllock.workflows.runtimes import (
    RuntimeName,
    chosen,
    docker_runtime,
    host_runtime,
    part_for,
)
from mllock.workflows.unchanged import unchanged
from mllock.workflows.vendored_data import bring_vendored

__all__ = ["EvaluateResult", "evaluate"]

FAILED_LOG = "evaluation-failed.log"
Output = Callable[[bytes], None] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateResult:
    """What was found out about `run`; `sources` is empty without [evaluate], `judgement` None
    without model gates. `fingerprint` is of the key that signed."""

    run: RunFolder
    runtime: str | None
    sources: Mapping[str, Evaluated]
    judgement: Judgement | None
    fingerprint: str


def evaluate(
    ctx: Context,
    *,
    run: str | None = None,
    runtime: RuntimeName | None = None,
    output: Output = None,
) -> EvaluateResult:
    """Evaluate `run` (default: the newest good one of this lock), and judge it by the model gates.

    `runtime` None takes the engine where one answers; `output` gets what the program prints.
    """
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    spec = loaded.spec
    if spec.evaluate is None and not is_declared(spec.gates, "model"):
        raise SpecError(
            "there is nothing to evaluate",
            file=loaded.path.name,
            hint="add an [evaluate] table with command and metrics, or conditions in [gates]",
        )
    # By content below, so not by stat here.
    lock, lock_bytes = current_lock(ctx, loaded, data=False)
    folder = run_of_lock(ctx, lock, run, "evaluate")
    refuse_led_out(ctx, folder.path)
    record = folder.record()
    _refuse_bad_signature(ctx, folder, record)
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    if spec.evaluate is None:
        judgement = judge_own(ctx, spec, folder.metrics(), record)
        assert judgement is not None
        with held_interrupts():
            publish_judgement(folder.path, judgement, record, key)
        return EvaluateResult(
            run=folder,
            runtime=None,
            sources={},
            judgement=judgement,
            fingerprint=key.fingerprint,
        )
    tests = {name: source for name, source in spec.data.items() if source.role == "test"}
    bring_vendored(ctx, tests, lock.data)
    with chosen(ctx, loaded, runtime, "train") as engine, contextlib.ExitStack() as stack:
        from mllock.workflows.environment import environment_of
        from mllock.workflows.parts import refuse_another
        from mllock.workflows.remote_data import bring_remote

        gpus = granted_gpus(ctx, loaded, engine)
        lock = part_for(lock, engine)
        bring_remote(ctx, tests, lock)
        plan = RunPlan(
            run_id=new_run_id(dt.datetime.now(dt.UTC)),
            spec=spec,
            lock=lock,
            lock_bytes=lock_bytes,
            project=ctx.project,
            command=resolve(spec.evaluate.command, {}, PARAMS_FILE),
            params=record.params,
            code=select_identity(ctx, spec, None if spec.train is None else spec.train.code),
            data={},
            environment=record.environment,
            environment_document=record.environment_document,
            runtime="host" if engine is None else "docker",
        )
        ctx.reporter.note(f"model of run {folder.id}")
        prepare_gates(ctx, spec, tests)
        if engine is None:
            program = host_runtime(ctx, lock, output, gpus)
        else:
            environment = environment_of(ctx, loaded, lock, run=folder)
            refuse_another(loaded, environment, folder)
            program = stack.enter_context(
                docker_runtime(ctx, loaded, lock, environment, engine, output, gpus)
            )
        staged = stack.enter_context(atomic.staging(ctx.state / "tmp"))
        work = _Evaluating(ctx=ctx, run=folder, record=record, plan=plan, program=program)
        looks = look_at_data(ctx, tests)
        (staged / EVALUATION_FOLDER).mkdir()
        sources = {
            name: work.one(name, staged, staged / EVALUATION_FOLDER / name) for name in tests
        }
        with unchanged(ctx, lock, tests, looks, staged / EVALUATION_FOLDER, sources):
            judgement = judge_run(ctx, spec, sources, record)
        _publish(folder, staged, _sign(record, plan, sources, key), judgement, record, key)
        return EvaluateResult(
            run=folder,
            runtime=plan.runtime,
            sources={name: _published(folder, name, one) for name, one in sources.items()},
            judgement=judgement,
            fingerprint=key.fingerprint,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Evaluating:
    ctx: Context
    run: RunFolder
    record: Record
    plan: RunPlan
    program: Runtime

    def one(self, name: str, staged: Path, kept: Path) -> Evaluated:
        """Run the program about the test source `name`; what it wrote is in `kept` then."""
        ctx, spec = self.ctx, self.plan.spec
        sources = {name: spec.data[name]}
        ctx.reporter.step(f"verifying the data: {name}")
        looks = look_at_data(ctx, sources)
        plan = replace(
            self.plan,
            # Containers are found again by this name.
            run_id=new_run_id(dt.datetime.now(dt.UTC)),
            data=verify_data(ctx, sources, self.plan.lock),
            evaluation=Evaluation(
                source=name, model=self.run.model_manifest(), root=self.run.model_path()
            ),
        )
        assert spec.evaluate is not None
        kept.mkdir()
        log, place = kept / "log.txt", f".mllock/runs/{self.run.id}/{FAILED_LOG}"
        with atomic.staging(staged) as around:
            work = around / "work"
            work.mkdir()
            try:
                outcome = self.program.run(plan, work, log)
                refuse_meddling(kept, {"log.txt"})
                ended_well(plan, outcome, log, place)
                verify_data_again(ctx, plan, looks, outcome.looks)
                metrics = read_metrics(work, spec.evaluate.metrics, "evaluate")
                assert metrics is not None
                predictions = digest = None
                if spec.evaluate.predictions is not None:
                    ending = spec.evaluate.predictions.rpartition(".")[2]
                    predictions = kept / f"predictions.{ending}"
                    digest = take_predictions(work, spec.evaluate.predictions, predictions)
            except (ProgramError, VoidRunError, KeyboardInterrupt):
                self._keep_log(log)
                raise
        atomic.write_bytes(kept / "metrics.json", metrics.data)
        return Evaluated(
            data=plan.data[name].digest,
            metrics=metrics.values,
            metrics_digest=sha256_of(metrics.data),
            predictions=predictions,
            predictions_digest=digest,
        )

    def _keep_log(self, log: Path) -> None:
        """The log of the program that failed last, whatever it made of the file."""
        if log.is_symlink() or not log.is_file():
            return
        with held_interrupts():
            os.replace(log, self.run.path / FAILED_LOG)


def _refuse_bad_signature(ctx: Context, run: RunFolder, record: Record) -> None:
    trust = load_policy(None, ctx.config_dir, ctx.environ).decide(record.project, run.bundle())
    if trust.refuted:
        raise AnswerNoError(
            f"the run's record is not to be trusted: {trust.reason}",
            file=run.id,
            found=trust.fingerprint,
            hint=f'see "mllock show {run.id}"',
        )


def _sign(
    record: Record, plan: RunPlan, sources: Mapping[str, Evaluated], key: SigningKey
) -> bytes:
    statement = evaluation_statement(record, plan.code.manifest.digest, sources)
    return sign_statement(make_test_result(statement), key)


def _publish(
    run: RunFolder,
    staged: Path,
    bundle: bytes,
    judgement: Judgement | None,
    record: Record,
    key: SigningKey,
) -> None:
    """Replace what is there. Statements go first and come last: in between the run has none."""
    final = run.path / EVALUATION_FOLDER
    atomic.sync_tree(staged / EVALUATION_FOLDER)
    (staged / EVALUATION_FOLDER).chmod(0o755)
    with held_interrupts():
        atomic.remove_tree(run.path / EVALUATION_BUNDLE)
        publish_judgement(run.path, None, record, key)
        atomic.remove_tree(run.path / FAILED_LOG)
        if os.path.lexists(final):
            os.rename(final, staged / "before")
        os.rename(staged / EVALUATION_FOLDER, final)
        atomic.write_bytes(run.path / EVALUATION_BUNDLE, bundle)
        if judgement is not None:
            publish_judgement(run.path, judgement, record, key)


def _published(run: RunFolder, name: str, evaluated: Evaluated) -> Evaluated:
    if evaluated.predictions is None:
        return evaluated
    place = run.path / EVALUATION_FOLDER / name / evaluated.predictions.name
    return replace(evaluated, predictions=place)
