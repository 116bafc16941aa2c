"""The runtime "host": the locked packages with this machine's Python, no container.

Order: environment (verified), a fresh copy of the declared code (hashed while copied), the data as
links to the verified sources, the program with an environment made from nothing, and afterwards
the code and the environment again by content. What this cannot give: the locked base and system
packages, no network, read-only data. The record says "runtime": "host", and `check` calls the
environment "unproven". Implements `mllock.train.types.Runtime`.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.data.pin import locate
from mllock.errors import ProgramError, VoidRunError
from mllock.lock.overlaps import overlaps_of
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.train.facts import host_facts
from mllock.train.given import data_path, given_files, given_variables
from mllock.train.gpus import NO_GPUS, Granted, gpu_facts
from mllock.train.placing import is_whole, other_model
from mllock.train.process import GRACE, run_program
from mllock.train.python import find_python
from mllock.train.trees import changed_entries, copy_tree, link_tree
from mllock.train.types import Outcome, RunPlan
from mllock.train.venv import FetchWheels, LockedVenv, locked_venv, verify_venv

__all__ = ["HostRuntime", "host_variables", "now", "refuse_other_python"]

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class HostRuntime:
    """`output` gets what the program prints, as it comes; None is silence."""

    name = "host"

    def __init__(
        self,
        *,
        cache: Cache,
        fetch: FetchWheels,
        environ: Mapping[str, str],
        reporter: Reporter,
        output: Callable[[bytes], None] | None = None,
        grace: float = GRACE,
        gpus: Granted = NO_GPUS,
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._environ = environ
        self._reporter = reporter
        self._output = output
        self._grace = grace
        self._gpus = gpus
        # What the last run was verified to have had, before and after it.
        self.venv: LockedVenv | None = None

    def run(self, plan: RunPlan, work: Path, log: Path) -> Outcome:
        """Raises VoidRunError if code or environment are not the same afterwards."""
        venv = locked_venv(
            self._cache.folder("venvs"),
            plan.lock.python.packages,
            find_python(plan.spec.environment.python, self._environ),
            self._fetch,
            self._reporter,
            overlaps=overlaps_of(plan.lock),
        )
        refuse_other_python(plan.command, venv, key=f"{plan.table}.command")
        _prepare(plan, work)
        with atomic.staging(work.parent) as home:
            variables = host_variables(plan.spec.environment.variables, venv, home)
            variables |= given_variables(plan, str(work)) | self._gpus.host_variables()
            self._reporter.step("running: " + " ".join(plan.command))
            started = now()
            ended = run_program(
                plan.command,
                folder=work,
                variables=variables,
                log=log,
                output=self._output,
                grace=self._grace,
                key=f"{plan.table}.command",
            )
            finished = now()
        if ended.exit_code == 0 and not ended.interrupted:
            _unchanged(plan, work, venv)
            self.venv = venv
        return Outcome(
            exit_code=ended.exit_code,
            started=started,
            finished=finished,
            facts=host_facts(venv, variables) | gpu_facts(self._gpus),
            wheels_verified=venv.wheels,
            interrupted=ended.interrupted,
        )


def now() -> str:
    """RFC 3339 in UTC, whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refuse_other_python(command: Sequence[str], venv: LockedVenv, *, key: str) -> None:
    """A Python that the image does not have would be the system's, without the locked packages."""
    name = command[0]
    if re.fullmatch(r"python[0-9.]*", name) and not (venv.bin / name).exists():
        raise ProgramError(
            f"cannot run {name}: the locked environment has Python {venv.python.minor}",
            file="mlproject.toml",
            key=key,
            expected=f"python, python3 or python{venv.python.minor}",
            found=name,
        )


def _prepare(plan: RunPlan, work: Path) -> None:
    copy_tree(plan.code.manifest, plan.project, work)
    try:
        for name, manifest in plan.data.items():
            declared = plan.spec.data[name]
            source, target = locate(plan.project, name, declared), work / data_path(declared)
            if is_whole(declared) and not manifest.is_single_file:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(source, target)
            else:
                link_tree(manifest, source, target)
    except OSError as error:
        raise atomic.cannot_write(work, error) from error
    if plan.evaluation is not None:
        assert plan.spec.train is not None
        path = plan.spec.train.model
        copy_tree(
            plan.evaluation.model,
            plan.evaluation.root,
            work / path,
            lambda inner: other_model(f"{path}/{inner}" if inner else path),
        )
    for name, data in given_files(plan).items():
        atomic.write_bytes(work / name, data)


def host_variables(declared: Mapping[str, str], venv: LockedVenv, home: Path) -> dict[str, str]:
    """Nothing is inherited: what is not declared cannot help, and no secret can leak. No GPU is
    seen: who gives some says so in their place."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **declared,
        "PATH": f"{venv.bin}:{SYSTEM_PATH}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        **NO_GPUS.variables(),
    }


def _unchanged(plan: RunPlan, work: Path, venv: LockedVenv) -> None:
    changed = changed_entries(plan.code.manifest, work)
    if changed:
        raise VoidRunError(
            "the code changed while the program ran",
            file=changed[0],
            expected="the file that the run was started with",
            hint=f"write outputs to other paths than code, and {plan.again}",
        )
    if not verify_venv(venv):
        raise VoidRunError(
            "the environment changed while the program ran",
            expected="the locked packages, and nothing installed or removed by the program",
            hint=f"declare what the program installs in [environment], and {plan.again}",
        )
