"""The runtime "docker" on a real engine: what a good program gets, what a bad one cannot do."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.containers import GOOD, Project, Proxy, failure, go, leftovers, said, the_run
from support.reporter import Recorder
from support.training import plan_of

from mllock.core.digest import Digest
from mllock.engine.docker import DockerEngine
from mllock.engine.types import ContainerPlan, Mount
from mllock.errors import EngineError, ProgramError, SpecError, VoidRunError
from mllock.spec.reader import load_spec
from mllock.train.docker import DockerRuntime
from mllock.train.placing import is_seen
from mllock.train.runs import list_runs
from mllock.workflows.build import build_images, train_image
from mllock.workflows.check import check_target
from mllock.workflows.context import Context
from mllock.workflows.environment import environment_of
from mllock.workflows.load import load_image
from mllock.workflows.lock import current_lock
from mllock.workflows.train import TrainResult, train


def test_a_good_run(project: Project, engine: DockerEngine, unique: str) -> None:
    ctx = project("echo to stdout; echo to stderr >&2")
    result = go(ctx, "alpha=0.25")
    record = result.run.record()
    assert (record.runtime, record.network, record.command) == ("docker", False, ("sh", "train.sh"))
    assert (record.wheels_verified, record.wheels_locked) == (1, 1)
    assert record.facts["engine"] == {"name": "docker", "version": engine.info.version}
    assert record.facts["python"] == {"version": "3.11.2", "implementation": "cpython"}
    assert record.facts["libc"] == "glibc 2.36"
    model = result.run.model_path()
    assert (model / "weights").read_text() == "a\n1\n2\n"
    assert json.loads((model / "params").read_text()) == {"alpha": 0.25}
    assert sorted((p.name, p.stat().st_mode & 0o777) for p in model.iterdir()) == [
        ("params", 0o644),
        ("weights", 0o644),
    ]
    assert dict(result.metrics) == {"score": 0.5}
    assert sorted(result.run.log.read_text().splitlines()) == ["to stderr", "to stdout"]
    assert isinstance(ctx.reporter, Recorder)
    assert f"note: runtime: docker {engine.info.version} (in the train image)" in ctx.reporter.lines
    # It ran in what `build train` makes, and that is called so now.
    image = engine.image(f"{unique}:train")
    built = build_images(ctx, ("train",)).images[0].image
    assert image is not None
    assert image.id == built.config_digest
    assert record.environment == built.environment


def test_it_proves_the_environment(project: Project) -> None:
    ctx = project()
    go(ctx)
    build_images(ctx)
    report = check_target(ctx, "oci:.mllock/oci", base=ctx.project)
    found = {f.claim: f.verdict for f in report.findings if f.verdict != "not asked"}
    assert found == dict.fromkeys(
        ("signature", "lineage", "model", "environment", "code", "configuration"), "proven"
    )


TRIES = r"""
echo user "$(id -u):$(id -g)" "$HOME" "$USER" "$LANG" "$TZ" "$OMP_NUM_THREADS" "$(pwd)"
echo variables $(env | cut -d= -f1 | sort)
echo interfaces $(ls /sys/class/net)
wget -q -T 2 http://192.0.2.1/ 2>/dev/null || echo no network
for path in data/train.csv /usr/new /opt/venv/new /opt/mllock/data/train /etc/passwd lib/code.sh; do
    (echo changed > $path) 2>/dev/null && echo "could write $path"
done
rm -f data/train.csv 2>/dev/null; cat data/train.csv | tr '\n' ' '
grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | tr '\t\n' '  '
mount -o remount,rw / 2>/dev/null && echo could mount
mknod /tmp/disk b 8 0 2>/dev/null && echo could make a device
echo
printf '#!/bin/sh\necho runs from /tmp\n' > /tmp/x && chmod +x /tmp/x && /tmp/x
touch new && echo may write beside the code
"""


def test_what_a_program_of_an_ordinary_user_can_do(project: Project, engine: DockerEngine) -> None:
    """As user 1234, whose data has mode 0600."""
    ctx = project(TRIES, files={"lib/code.sh": "echo code\n"})
    data = ctx.project / "data/train.csv"
    os.chown(data, 1234, 1234)
    data.chmod(0o600)
    loaded = load_spec(ctx.project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded)
    image = load_image(
        ctx, engine, train_image(ctx, loaded, lock, environment_of(ctx, loaded, lock)), ()
    )
    plan = plan_of(ctx.project, lock)
    work, log = ctx.state / "staged/work", ctx.state / "staged/log"
    work.mkdir(parents=True)
    outcome = DockerRuntime(
        engine=engine,
        image=image.id,
        cache=ctx.cache,
        state=ctx.state,
        user=(1234, 1234),
        reporter=ctx.reporter,
    ).run(plan, work, log)
    assert log.read_text().splitlines() == [
        "user 1234:1234 /tmp mllock C.UTF-8 UTC 1 /app",
        "variables CUDA_VISIBLE_DEVICES HOME HOSTNAME LANG MLLOCK_PARAMS NVIDIA_VISIBLE_DEVICES "
        "OMP_NUM_THREADS PATH PWD "
        "PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE SHLVL TZ USER",
        "interfaces lo",
        "no network",
        "a 1 2 CapEff: 0000000000000000 NoNewPrivs: 1 ",
        "runs from /tmp",
        "may write beside the code",
    ]
    assert outcome.exit_code == 0
    assert (work / "out/model/weights").read_text() == "a\n1\n2\n"


def test_network_only_if_it_is_declared(project: Project) -> None:
    ctx = project("echo interfaces $(ls /sys/class/net)", train="network = true")
    assert go(ctx).run.record().network is True
    assert the_run(ctx).log.read_text() == "interfaces eth0 lo\n"


def test_root_cannot_change_the_data(project: Project) -> None:
    ctx = project(
        "id -u; (echo x > data/train.csv) 2>&1; (echo x > /usr/x) 2>&1; ls -l data | wc -l"
    )
    go(ctx)
    assert the_run(ctx).log.read_text().splitlines()[1:3] == [
        "train.sh: line 1: can't create data/train.csv: Read-only file system",
        "train.sh: line 1: can't create /usr/x: Read-only file system",
    ]


def test_code_that_changes_itself_voids_the_run(project: Project) -> None:
    """Only root can; its files are the image's."""
    ctx = project(
        "echo echo more >> lib/code.sh", files={"lib/code.sh": "echo code\n", "lib/other.sh": ""}
    )
    assert said(ctx, VoidRunError) == (
        "lib/code.sh: the code changed while the program ran\n"
        "expected: the file that the run was started with\n"
        "hint: write outputs to other paths than code, and train again"
    )
    assert failure(ctx) == ("void", None)


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ("rm train.sh", "train.sh"),
        ("chmod +x lib/code.sh", "lib/code.sh"),
        ("cp lib/code.sh x; rm lib/code.sh; ln -s ../x lib/code.sh", "lib/code.sh"),
        ("mkfifo lib/a", "lib/code.sh"),
    ],
)
def test_every_change_of_code_is_found(project: Project, program: str, path: str) -> None:
    ctx = project(program, files={"lib/code.sh": "echo code\n"})
    assert said(ctx, VoidRunError).startswith(f"{path}: the code changed while the program ran\n")


def test_a_hard_link_to_code_is_no_change(project: Project) -> None:
    ctx = project("ln lib/code.sh lib/a", files={"lib/code.sh": "echo code\n"})
    go(ctx)


def test_data_that_changes_meanwhile_voids_the_run(project: Project, tmp_path: Path) -> None:
    ctx = project(
        "while [ ! -e /opt/mllock/data/flags/go ]; do sleep 0.05; done",
        data=FLAGS,
        files={"flags/x": ""},
    )
    data = ctx.project / "data/train.csv"

    def change(chunk: bytes) -> None:
        raise AssertionError(chunk)

    # The program waits for a file in its data, whose appearing is the change.
    timer = threading.Timer(1.0, lambda: (ctx.project / "flags/go").write_text(""))
    timer.start()
    try:
        with pytest.raises(VoidRunError) as caught:
            train(ctx, runtime="docker", output=change)
    finally:
        timer.join()
    assert data.exists()
    assert caught.value.message == (
        "data changed while the program ran: 'flags' has 2 files now, 1 locked"
    )


def test_data_that_is_put_back_voids_the_run(project: Project) -> None:
    ctx = project("echo ready", data=SELECTED, files=MANY)
    file = ctx.project / "many/a.csv"

    def change(_: bytes) -> None:
        data, times = file.read_bytes(), file.stat()
        file.write_bytes(b"biased")
        file.write_bytes(data)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(VoidRunError) as caught:
        train(ctx, runtime="docker", output=change)
    assert (caught.value.file, caught.value.message) == (
        "many/a.csv",
        "data was changed and put back while the program ran",
    )


FLAGS = """
[data.flags]
source = "flags"
"""

SELECTED = """
[data.some]
source = "many"
include = ["**/*.csv"]
exclude = ["secret/**"]
path = "in/some"
"""
MANY = {"many/a.csv": "a", "many/sub/b.csv": "b", "many/secret/c.csv": "c", "many/d.txt": "d"}
SHOW = "find -L in -type f | sort; find -L /opt/mllock/data -type f | sort; cat in/some/sub/b.csv"
SHOWN = (
    "in/some/a.csv\nin/some/sub/b.csv\n/opt/mllock/data/some/a.csv\n"
    "/opt/mllock/data/some/sub/b.csv\n/opt/mllock/data/train\nb"
)


def test_only_what_is_declared_is_there(project: Project) -> None:
    ctx = project(SHOW, data=SELECTED, files=MANY)
    go(ctx)
    assert the_run(ctx).log.read_text() == SHOWN


def test_a_remote_engine_gets_the_data_itself(project: Project, engine_host: str) -> None:
    with Proxy(engine_host) as host:
        ctx = project(
            SHOW + "; echo; grep -c ' /opt/mllock/data .*[ ,]ro[, ]' /proc/mounts",
            data=SELECTED,
            files=MANY,
            host=host,
        )
        for name in MANY:
            (ctx.project / name).chmod(0o600)
        result = go(ctx)
    assert the_run(ctx).log.read_text() == SHOWN + "\n1\n"
    assert (result.run.model_path() / "weights").read_text() == "a\n1\n2\n"
    assert isinstance(ctx.reporter, Recorder)
    assert f"step: sending the data to the engine: {6 + 2} bytes" in ctx.reporter.lines
    assert result.run.record().facts["cpu"] == {"machine": "amd64"}


def test_binds_of_another_disk_are_seen(
    project: Project, engine: DockerEngine, unique: str, tmp_path: Path
) -> None:
    """What tells whether the engine's paths are this machine's."""
    ctx = project()
    go(ctx)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "file").write_text("x")
        os.utime(folder / "file", (1, 1))
    os.utime(ours, (1, 1))
    mounts = tuple(
        Mount(kind="bind", source=str(source), target=target)
        for source, target in ((ours, "/a"), (ours / "file", "/b"))
    )
    made = engine.create(ContainerPlan(image=f"{unique}:train", mounts=mounts))
    try:
        assert is_seen(engine, made, mounts)
        for other in (theirs, theirs / "file"):
            os.utime(other, (2, 2))
            target = "/a" if other == theirs else "/b"
            wrong = Mount(kind="bind", source=str(other), target=target)
            assert not is_seen(engine, made, (*mounts, wrong))
        assert not is_seen(engine, made, (replace(mounts[0], target="/none"),))
    finally:
        engine.remove(made)


def test_memory(project: Project, unique: str) -> None:
    ctx = project(
        "echo filling; tail -c 200m /dev/zero > /tmp/x; head -c 200m /dev/zero > /tmp/y",
        train='memory = "32MiB"',
    )
    message = said(ctx, ProgramError)
    assert message == (
        f".mllock/runs/{the_run(ctx).id}/log.txt: the training program was ended: out of memory\n"
        "expected: at most 32MiB\n"
        f"found: \n    {the_run(ctx).log.read_text().rstrip().replace(chr(10), chr(10) + '    ')}\n"
        "hint: use less, or raise [train] memory"
    )
    kind, code = failure(ctx)
    assert kind == "program"
    assert code is not None
    assert code != 0
    assert go_with(ctx, 'memory = "32MiB"', 'memory = "1GiB"', GOOD).run.is_good


def go_with(ctx: Context, old: str, new: str, program: str) -> TrainResult:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace(old, new))
    (ctx.project / "train.sh").write_text(program)
    return go(ctx)


def test_too_little_memory(project: Project) -> None:
    ctx = project(train='memory = "1MiB"')
    assert said(ctx, SpecError) == (
        "mlproject.toml: train.memory: too little memory for any program\n"
        'expected: at least 6MiB\nfound: "1MiB"'
    )
    assert list_runs(ctx.runs) == ()


@pytest.mark.parametrize(
    ("program", "how", "code"),
    [
        ("echo bye; exit 3", "failed with exit code 3", 3),
        ("echo bye; kill -TERM $$", "was ended by SIGTERM", -15),
        ("echo bye; kill -SEGV $$", "was ended by SIGSEGV", -11),
    ],
)
def test_a_program_that_fails(project: Project, program: str, how: str, code: int) -> None:
    ctx = project(program)
    assert said(ctx, ProgramError) == (
        f".mllock/runs/{the_run(ctx).id}/log.txt: the training program {how}\nfound: \n    bye"
    )
    assert failure(ctx) == ("program", code)
    assert sorted(p.name for p in the_run(ctx).path.iterdir()) == ["failed.json", "log.txt"]


def test_no_such_command(project: Project) -> None:
    ctx = project()
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('["sh", "train.sh"]', '["pyhton", "train.sh"]'))
    assert said(ctx, ProgramError) == (
        "mlproject.toml: train.command: cannot run pyhton: no such file or directory\n"
        "expected: a program of the train image\n"
        "hint: add the package that has it to [environment] dependencies or system-packages"
    )


def test_what_a_program_leaves_running_is_ended(project: Project, engine: DockerEngine) -> None:
    """It holds the output open, in a session of its own."""
    ctx = project("setsid sh -c 'while :; do echo late >> /app/out/model/late; sleep 0.1; done' &")
    go(ctx)
    assert leftovers(engine, ctx) == ([], [])


def test_what_was_chosen_is_said(project: Project, engine: DockerEngine, unique: str) -> None:
    ctx = project()
    assert train(ctx).runtime == "docker"
    without = replace(ctx, environ={**ctx.environ, "MLLOCK_ENGINE": "none"}, reporter=Recorder())
    # On the host there is no sh of the world's own, but there is this machine's.
    assert train(without).runtime == "host"
    assert isinstance(without.reporter, Recorder)
    assert without.reporter.lines[0] == (
        "note: runtime: host (this machine's Python, locked packages; not the image)"
    )


def test_an_engine_that_forgets_the_image(
    project: Project, engine: DockerEngine, unique: str
) -> None:
    """Another image under the id that was loaded is no image to train in."""
    ctx = project()
    loaded = load_spec(ctx.project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded)
    plan = plan_of(ctx.project, lock)
    work = ctx.state / "staged/work"
    work.mkdir(parents=True)
    runtime = DockerRuntime(
        engine=engine,
        image=Digest("sha256:" + "0" * 64),
        cache=ctx.cache,
        state=ctx.state,
        user=(0, 0),
        reporter=ctx.reporter,
    )
    with pytest.raises(EngineError) as caught:
        runtime.run(plan, work, ctx.state / "staged/log")
    assert caught.value.message == (
        f"the container engine cannot create a container: No such image: sha256:{'0' * 64}"
    )
