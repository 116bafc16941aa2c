"""The release that `no-worse-than` names: which one it is now, and whether a run was held to it.

`evaluate` writes the measure into what it signs, and `release` asks again inside of its turn, when
nobody else can release: a run that was compared with something else, or with nothing yet, is not
compared. A release that this machine has seen and that is not here is not "nothing". Raises
InputError, RunError, AnswerNoError.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.attest.policy import Policy
from mllock.attest.release import Release, ReleasedGates
from mllock.core.digest import Digest
from mllock.errors import AnswerNoError, InputError, RunError
from mllock.gates.measure import MEASURE, measure_digest, measure_name
from mllock.gates.signed import read_signed
from mllock.spec.gates import no_worse_of
from mllock.spec.types import Gates, Spec
from mllock.train.record import Record
from mllock.train.runs import RunFolder
from mllock.workflows.releases import Stages

__all__ = ["measure_of", "refuse_another_measure"]

SPEC, KEY = "mlproject.toml", "gates.no-worse-than"


def measure_of(state: Stages, gates: Gates) -> Release | None:
    """The release that is the measure; None if none is asked for, or nothing valid is released."""
    gate = no_worse_of(gates)
    if gate is None:
        return None
    if gate.than != "released":
        return _valid(state, gate.than)
    stages = dict.fromkeys((*state.stages(), *sorted(state.marks.stages)))
    valid = [release for stage in stages if (release := _valid(state, stage)) is not None]
    if len(valid) > 1:
        raise InputError(
            "there is more than one stage with a release",
            file=SPEC,
            key=KEY,
            expected=", ".join(f'"{release.stage}"' for release in valid),
            found='"released"',
            hint=f'say which one is the measure, e.g. no-worse-than = "{valid[0].stage}"',
        )
    return valid[0] if valid else None


def refuse_another_measure(
    spec: Spec,
    run: RunFolder,
    record: Record,
    policy: Policy,
    state: Stages,
    gates: Iterable[ReleasedGates],
) -> None:
    """Raises AnswerNoError if `run` was not held to what is released now. `gates` is what will be
    said of its statements. The run that is released is never worse than itself."""
    if spec.gates is None or no_worse_of(spec.gates) is None:
        return
    now = measure_of(state, spec.gates)
    signed = read_signed(run, "model", record, policy)
    if signed.digest not in [one.statement for one in gates if one.kind == "model"]:
        raise AnswerNoError(
            "the run was judged again meanwhile", file=run.id, hint="release it again"
        )
    if now is not None and now.record == record.digest:
        return
    found = signed.judgement.inputs.get(MEASURE)
    if found != measure_digest(now):
        then: dict[Digest | None, str] = {
            measure_digest(stated.release): measure_name(stated.release)
            for stated in state.statements
            if stated.release is not None and stated.believed
        }
        then |= {None: "no release is named", measure_digest(None): "nothing was released yet"}
        raise AnswerNoError(
            "the run was not compared with what is released now",
            file=run.id,
            key=KEY,
            expected="nothing is released" if now is None else measure_name(now),
            found=then.get(found, "another release"),
            hint=f"mllock evaluate {run.id}",
        )


def _valid(state: Stages, stage: str) -> Release | None:
    top = state.current(stage)
    seen = state.marks.stages.get(stage)
    here = max((one.release.number for one in top if one.release is not None), default=0)
    digests = [one.digest for one in top]
    if seen is not None and (
        here < seen.number
        or (here == seen.number and seen.statement is not None and seen.statement not in digests)
    ):
        raise RunError(
            "a release that this machine has seen is not here",
            file=".mllock/releases",
            key=KEY,
            expected=f'release {seen.number} of stage "{stage}"',
            found=f"release {here}" + (", another one" if here == seen.number else "")
            if here
            else "none of this stage",
            hint='bring it back, e.g. with "mllock pull"',
        )
    if len(top) > 1:
        raise RunError(
            "there are two releases with one number",
            file=top[1].name,
            key=KEY,
            expected=f'one release {here} of stage "{stage}"',
            found=f"{top[0].name} as well",
            hint="remove the one that is not meant",
        )
    for stated in top:
        if state.status(stated) == "released":
            return stated.release
    return None
