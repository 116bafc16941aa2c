"""`mllock train`: from a lock to a signed run.

Order: spec and lock (a stale one is refused), data verified by content, the gates of the data, code
selected, environment, the program; then the data again, the model, the metrics, the answers to the
probes, the record, its signature read back, and one rename. Until that rename there is no run. A
program that fails, is interrupted, or writes no model leaves a run that says so, with its log and
without record or model; so does one whose inputs changed while it ran, and one whose probes could
not be recorded. Raises the errors of its rooms, ProgramError, VoidRunError, and KeyboardInterrupt
when the user interrupted the program.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mllock.attest.keys import load_or_create_key
from mllock.core.digest import Digest, from_hex, sha256_of
from mllock.core.tree import TreeManifest
from mllock.data.touched import Looks
from mllock.errors import MllockError, ProgramError, SpecError, VoidRunError
from mllock.gates.signed import GatesState, keep_judgement
from mllock.gates.types import Judgement
from mllock.lock.types import Lock
from mllock.probes.types import NAME as PROBES
from mllock.spec.command import resolve
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.train.outputs import read_metrics, take_model
from mllock.train.plan import PARAMS_FILE, apply_overrides, params_bytes
from mllock.train.record import Record, make_record
from mllock.train.runs import Failure, FailureKind, RunFolder, new_run_id, publish_run
from mllock.train.sign import sign_run
from mllock.train.types import Outcome, RunPlan, Runtime
from mllock.workflows.context import Context
from mllock.workflows.gates import judge_training, ready_for_gates, state_of
from mllock.workflows.gpus import granted_gpus
from mllock.workflows.inputs import (
    ended_well,
    look_at_data,
    refuse_meddling,
    select_identity,
    verify_data,
    verify_data_again,
)
from mllock.workflows.judging import judge_own
from mllock.workflows.probes import LOG, ProbePlan, plan_probes
from mllock.workflows.runtimes import (
    HasEnvironment,
    RuntimeName,
    chosen,
    docker_runtime,
    host_runtime,
    part_for,
)
from mllock.workflows.vendored_data import bring_vendored

__all__ = ["TrainResult", "train"]


EnvironmentOf = Callable[[Context, LoadedSpec, Lock], HasEnvironment]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """A good run. `model` is the tree digest; `fingerprint` of the key that signed; `probes` is how
    many answers were recorded; `data_gates` how the gates of the data came out, None if none is
    declared; `model_gates` what those of the model say, if they are asked of its own metrics."""

    run: RunFolder
    model: Digest
    metrics: Mapping[str, float]
    fingerprint: str
    runtime: str
    probes: int = 0
    data_gates: GatesState | None = None
    model_gates: Judgement | None = None


def train(
    ctx: Context,
    *,
    overrides: Sequence[str] = (),
    runtime: RuntimeName | None = None,
    despite_gates: bool = False,
    output: Callable[[bytes], None] | None = None,
    environment_of: EnvironmentOf | None = None,
) -> TrainResult:
    """Train once. `runtime` None takes the engine where one answers. `despite_gates`: also if gates
    of the data fail. `output` gets what the program prints; `environment_of` is for tests of the
    runtime "host"."""
    from mllock.workflows.lock import current_lock
    from mllock.workflows.remote_data import bring_remote

    loaded = load_spec(ctx.project / "mlproject.toml")
    declared = loaded.spec.train
    if declared is None:
        raise SpecError(
            "there is nothing to train",
            file=loaded.path.name,
            hint="add a [train] table with command and model",
        )
    params = apply_overrides(declared.params, overrides)
    ready_for_gates(loaded)
    # By content below, so not by stat here.
    lock, lock_bytes = current_lock(ctx, loaded, data=False)
    bring_vendored(ctx, loaded.spec.data, lock.data)
    with chosen(ctx, loaded, runtime, "train") as engine:
        gpus = granted_gpus(ctx, loaded, engine)
        lock = part_for(lock, engine)
        bring_remote(ctx, loaded.spec.data, lock)
        ctx.reporter.step("verifying the data")
        looks = look_at_data(ctx, loaded.spec.data)
        data = verify_data(ctx, loaded.spec.data, lock)
        judged = judge_training(ctx, loaded, data, looks, despite=despite_gates)
        code = select_identity(ctx, loaded.spec, declared.code)
        built = (environment_of or _build_environment)(ctx, loaded, lock)
        plan = RunPlan(
            run_id=new_run_id(dt.datetime.now(dt.UTC)),
            spec=loaded.spec,
            lock=lock,
            lock_bytes=lock_bytes,
            project=ctx.project,
            command=resolve(declared.command, params, PARAMS_FILE),
            params=params,
            code=code,
            data=data,
            environment=built.digest,
            environment_document=built.document,
            runtime="host" if engine is None else "docker",
        )
        with contextlib.ExitStack() as stack:
            if engine is None:
                program = host_runtime(ctx, lock, output, gpus)
            else:
                program = stack.enter_context(
                    docker_runtime(ctx, loaded, lock, built, engine, output, gpus)
                )
            probes = plan_probes(ctx, loaded, lock, program)
            # Two folders: the run is not beside what the program works in.
            staged = stack.enter_context(atomic.staging(ctx.state / "tmp"))
            run = stack.enter_context(atomic.staging(ctx.state / "tmp"))
            return _run(ctx, plan, program, probes, looks, judged, staged, run)


def _run(
    ctx: Context,
    plan: RunPlan,
    runtime: Runtime,
    probes: ProbePlan | None,
    looks: Mapping[str, Looks],
    judged: Judgement | None,
    staged: Path,
    run: Path,
) -> TrainResult:
    """Run `plan` in `staged`, and publish what comes out, good or failed, as `run`."""
    declared = plan.spec.train
    assert declared is not None
    work = staged / "work"
    work.mkdir()
    log = run / "log.txt"
    # Before the program: a key that cannot be used must not cost a day of training.
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    outcome: Outcome | None = None
    answers: bytes | None = None
    if probes is not None:
        probes.keep_code(ctx.project, staged / "serving")
    try:
        outcome = runtime.run(plan, work, log)
        refuse_meddling(run, {"log.txt"})
        ended_well(plan, outcome, log, f".mllock/runs/{plan.run_id}/log.txt")
        verify_data_again(ctx, plan, looks, outcome.looks)
        model = take_model(work, declared.model, run / "model")
        metrics = read_metrics(work, declared.metrics)
        if probes is not None:
            answers = _record_probes(ctx, plan, probes, model, staged, run)
            refuse_meddling(run, {"log.txt", "model"})
    except (ProgramError, VoidRunError, KeyboardInterrupt) as error:
        _keep_failed(ctx, plan, outcome, run, error)
        raise
    files = {"params.json": params_bytes(plan.params), "code.manifest": plan.code.manifest.text()}
    if metrics is not None:
        files["metrics.json"] = metrics.data
    for name, data in files.items():
        atomic.write_bytes(run / name, data)
    atomic.write_bytes(run / "mlproject.lock", plan.lock_bytes)
    if answers is not None:
        atomic.write_bytes(run / PROBES, answers, 0o600)
        files[PROBES] = answers
    byproducts = {name: sha256_of(data) for name, data in files.items()}
    with open(log, "rb") as file:
        byproducts["log.txt"] = from_hex(hashlib.file_digest(file, "sha256").hexdigest())
    payload = make_record(plan, outcome, model, byproducts)
    record = sign_run(payload, model, posixpath.basename(declared.model), key, run)
    if judged is not None:
        keep_judgement(run, judged, record, key)
    model_gates = _judge_model(ctx, plan, record, {} if metrics is None else metrics.values)
    if model_gates is not None:
        keep_judgement(run, model_gates, record, key)
    return TrainResult(
        run=publish_run(run, ctx.runs, plan.run_id),
        model=record.model,
        metrics={} if metrics is None else metrics.values,
        fingerprint=key.fingerprint,
        runtime=plan.runtime,
        probes=0 if probes is None else len(probes.probes),
        data_gates=None if judged is None else state_of(judged),
        model_gates=model_gates,
    )


def _judge_model(
    ctx: Context, plan: RunPlan, record: Record, metrics: Mapping[str, float]
) -> Judgement | None:
    """By the metrics of the program, where no test source is to be evaluated. What is in the way of
    that costs no run: it can be judged later."""
    try:
        return judge_own(ctx, plan.spec, metrics, record)
    except MllockError as error:
        ctx.reporter.warn(f"the run is not judged by its gates: {error}")
        ctx.reporter.note(f"then: mllock evaluate {plan.run_id}")
        return None


def _record_probes(
    ctx: Context, plan: RunPlan, probes: ProbePlan, model: TreeManifest, staged: Path, run: Path
) -> bytes:
    """The answers of the new model; the program's log stays in the run only if it fails."""
    declared = plan.spec.train
    assert declared is not None
    number = len(probes.probes)
    ctx.reporter.step(f"recording the answers to {number} probe{'s' if number > 1 else ''}")
    work, log, root = staged / "served", run / LOG, run / "model"
    if model.is_single_file:
        root /= posixpath.basename(declared.model)
    work.mkdir()
    try:
        answers = probes.record(staged / "serving", model, root, work, log)
    except ProgramError as error:
        error.hint = error.hint or f"its log is .mllock/runs/{plan.run_id}/{LOG}"
        raise
    log.unlink(missing_ok=True)
    return answers


def _keep_failed(
    ctx: Context, plan: RunPlan, outcome: Outcome | None, run: Path, error: BaseException
) -> None:
    """Publish why there is no good run: the logs and `failed.json`, nothing else.

    Without a log the program was not started, or took it away, and there is no run at all.
    """
    if run.is_symlink() or (run / "log.txt").is_symlink() or not (run / "log.txt").is_file():
        return
    kind: FailureKind = "output"
    reason = "interrupted"
    if isinstance(error, KeyboardInterrupt):
        kind = "interrupted"
    elif isinstance(error, MllockError):
        reason = error.message
        if isinstance(error, VoidRunError):
            kind = "void"
        elif outcome is None or outcome.exit_code != 0:
            kind = "program"
        elif (run / LOG).exists():
            kind = "probes"
    failure = Failure(
        run=plan.run_id,
        kind=kind,
        reason=reason,
        exit_code=None if outcome is None else outcome.exit_code,
        started=None if outcome is None else outcome.started,
        finished=None if outcome is None else outcome.finished,
        params=dict(plan.params),
    )
    for path in run.iterdir():
        if path.name not in ("log.txt", LOG):
            atomic.remove_tree(path)
    data = msgspec.json.format(msgspec.json.encode(failure), indent=2) + b"\n"
    atomic.write_bytes(run / "failed.json", data)
    publish_run(run, ctx.runs, plan.run_id)


def _build_environment(ctx: Context, loaded: LoadedSpec, lock: Lock) -> HasEnvironment:
    from mllock.workflows.environment import environment_of

    return environment_of(ctx, loaded, lock)
