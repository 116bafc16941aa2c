"""Python's own variables in a container: those that the spec declares, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.containers import Project, go

from mllock.workflows.build import build_images
from mllock.workflows.check import check_target

# Of the caller's shell: any of them would make Python run or import something else.
HOSTILE = {
    "PYTHONPATH": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTHONSTARTUP": "/nowhere/start.py",
    "PYTHONINSPECT": "1",
    "PYTHONBREAKPOINT": "evil.hook",
    "PYTHONHASHSEED": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONEXECUTABLE": "/nowhere/python",
    "LD_PRELOAD": "/nowhere/evil.so",
}
DECLARED = 'PYTHONPATH = "src:lib/more", PYTHONHASHSEED = "7", PYTHONUNBUFFERED = "1"'
SHOW = "env | grep -E '^(PYTHON|LD_)' | sort\n"


def seen(log: Path) -> dict[str, str]:
    lines = [line for line in log.read_text().splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines)


def test_declared_ones_are_set_and_the_callers_are_not(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        if name != "LD_PRELOAD":  # this very process starts others
            monkeypatch.setenv(name, value)
    ctx = project(
        SHOW + "cat src/wine.sh lib/more/helper.sh\n",
        variables=DECLARED,
        files={"src/wine.sh": "# of src\n", "lib/more/helper.sh": "# of lib\n"},
    )
    ctx.environ.update(HOSTILE)
    result = go(ctx)
    found = seen(result.run.log)
    path = found.pop("PYTHONPATH")
    assert found == {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "7",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # Relative to the project, which is the working folder, on the host as in the image.
    assert path == "src:lib/more"
    assert "# of src\n# of lib\n" in result.run.log.read_text()
    # What was set is part of the environment that is proven.
    build_images(ctx)
    report = check_target(ctx, "oci:.mllock/oci", base=ctx.project)
    assert {f.claim: f.verdict for f in report.findings}["environment"] == "proven"
