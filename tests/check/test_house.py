"""Check can be run where nothing can be resolved, built or trained."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = (
    "mllock.lock.make",
    "mllock.lock.locked",
    "mllock.lock.python",
    "mllock.lock.debian",
    "mllock.lock.layers",
    "mllock.image.build",
    "mllock.image.wheel",
    "mllock.image.debian",
    "mllock.image.python",
    "mllock.train.host",
    "mllock.workflows.lock",
    "mllock.workflows.build",
    "mllock.workflows.train",
    "piptools",
    "pip",
    "installer",
    "deflate",
    "debian",
    "pysequoia",
    "requests",
)

PROGRAM = """
import sys
import mllock.check, mllock.workflows.check, mllock.cli.check
import mllock.check.claims, mllock.check.report, mllock.check.image
print("\\n".join(sys.modules))
"""


def test_check_imports_no_resolver_and_no_builder():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "mllock.check.claims" in modules
    found = [name for name in modules for bad in FORBIDDEN if f"{name}.".startswith(f"{bad}.")]
    assert found == []


def test_a_whole_check_imports_none_either(whole):
    arguments = ["--project", str(whole.project), "check", str(whole.run / "model")]
    program = (
        "import sys\n"
        "from mllock.cli.main import run\n"
        f"code = run({arguments!r})\n"
        "print(*sys.modules, sep='\\n')\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"XDG_CONFIG_HOME": str(whole.root / "config"), "HOME": str(whole.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modules = set(done.stdout.split())
    found = [name for name in modules for bad in FORBIDDEN if f"{name}.".startswith(f"{bad}.")]
    assert found == []
