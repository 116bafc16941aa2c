"""What `check` asks about releases: which stage, which statements, what was seen before.

Effects only: statements are read once, put to the policy, and marks are read; nothing is judged.
The marks are read before the policy is asked, for the day that its dates are compared with is
never before the latest day that this machine has seen.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.policy import NAME, Policy
from mllock.attest.release import is_stage
from mllock.attest.release_files import ReleaseFile, judge, read_folder
from mllock.check.claims_release import newest
from mllock.check.evidence import ReleaseFacts
from mllock.check.marks import Marks, marks_file, read_marks, remember
from mllock.core.digest import Digest
from mllock.errors import InputError, SurroundingsError

__all__ = ["ReleaseQuestion", "ask_release", "require_stage"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseQuestion:
    """Made by `ask_release`. `memory` gives the folder of marks, when it is needed."""

    place: str
    files: tuple[ReleaseFile, ...]
    memory: Callable[[], Path]
    policy: Policy
    stage: str | None
    clock: dt.datetime

    def stage_of(self, project: str | None) -> str | None:
        """The stage that was named, else the one that the policy asks for."""
        return self.stage or (None if project is None else self.policy.stages.get(project))

    def facts(self, project: str) -> ReleaseFacts | None:
        """None for a project whose name no release can have."""
        if re.match(NAME, project) is None:
            return None
        stage = self.stage_of(project)
        if stage is None:
            marks, memory = Marks(project=project), ""
        else:
            folder = self.memory()
            marks, memory = read_marks(folder, project), str(marks_file(folder, project))
        today = marks.now(self.clock).date()
        return ReleaseFacts(
            stage=stage,
            place=self.place,
            memory=memory,
            statements=judge(self.files, self.policy, today=today),
            marks=marks,
            clock=self.clock,
        )

    def records(self) -> frozenset[Digest]:
        """The records that the newest releases name: what a target is best held against."""
        statements = judge(self.files, self.policy, today=self.clock.date())
        found = set()
        for project in {stated.project for stated in statements}:
            stage = self.stage_of(project)
            if project is not None and stage is not None:
                for stated in newest(statements, project, stage):
                    assert stated.release is not None
                    found.add(stated.release.record)
        return frozenset(found)

    def remember(self, facts: ReleaseFacts) -> None:
        """Raise the marks by what was seen. Of a project of which nothing trusted was ever seen,
        whose name may be anybody's, there is nothing to remember."""
        project = facts.marks.project
        known = facts.marks.clock is not None
        if not known and not any(s.believed and s.project == project for s in facts.statements):
            return
        try:
            self._remember(project, facts)
        except SurroundingsError as error:
            error.hint = (
                "a check with a stage keeps what it has seen: set XDG_STATE_HOME to a folder that "
                "can be written to, and that lasts"
            )
            raise

    def _remember(self, project: str, facts: ReleaseFacts) -> None:
        remember(self.memory(), project, facts.statements, facts.clock)


def require_stage(stage: str) -> None:
    """Raises InputError for what can be no stage."""
    if not is_stage(stage):
        raise InputError(
            f'"{stage}" cannot be the name of a stage',
            expected='lower-case letters and digits, joined by "-", at most 64; not "revoked"',
        )


def ask_release(
    folder: Path,
    *,
    place: str,
    memory: Callable[[], Path],
    policy: Policy,
    stage: str | None,
    clock: dt.datetime,
    must_exist: bool,
) -> ReleaseQuestion:
    """Read the statements in `folder`, called `place` in messages. Raises InputError."""
    if stage is not None:
        require_stage(stage)
    if must_exist and not folder.is_dir():
        raise InputError("no such folder of releases", file=place)
    return ReleaseQuestion(
        place=place,
        files=read_folder(folder),
        memory=memory,
        policy=policy,
        stage=stage,
        clock=clock,
    )
