"""Child processes and Ctrl-C: whenever it comes, no child lives on and no folder stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Ctrl-C a little later in each round, from before the child starts until after it ends; at the end
# of each round, what is left. The child's own child holds no pipe of ours.
DRIVER = """
import contextlib, os, pathlib, signal, subprocess, sys, time
from mllock import processes
from mllock.store import atomic

CHILD = "(sleep 60 >/dev/null 2>&1 & while :; do echo x > $1/x; rm -f $1/x; done)"

def left():
    mine = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if sys.argv[1].encode() in pathlib.Path("/proc", name, "cmdline").read_bytes():
                    if int(name) != os.getpid():
                        mine.append(name)
    return mine, os.listdir(sys.argv[1])

signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
interrupted = 0
for step in range(60):
    signal.setitimer(signal.ITIMER_REAL, 0.00015 * (step + 1))
    try:
        with atomic.staging(pathlib.Path(sys.argv[1])) as folder:
            processes.run(["sh", "-c", CHILD, "sh", str(folder)])
    except KeyboardInterrupt:
        interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert left() == ([], []), (step, left())
print(interrupted)
"""


def test_no_interrupt_leaves_a_child_or_a_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "60\n", "")
