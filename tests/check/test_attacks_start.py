"""Containers that were started otherwise than the image says: by name, or by path of the mount."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from support.attacked import MODEL, SITE, Attacked
from support.world import finding, paths, verdicts

from mllock.check.types import Report

BUSYBOX = ("--", "/usr/bin/busybox")


def configuration(report: Report, verdict: str, *expected: str) -> None:
    """What `configuration` says; nothing else is doubted, for all files are right."""
    assert verdicts(report) == {
        "signature": "proven",
        "lineage": "proven",
        "model": "proven",
        "environment": "proven",
        "code": "proven",
        "configuration": verdict,
        "behaviour": "not asked",
        "release": "not asked",
    }, report
    assert paths(report, "configuration") == list(expected)
    assert report.exit_code() == {"proven": 0, "refuted": 1, "unproven": 3}[verdict]


def test_clean(attacked: Attacked) -> None:
    """What operators add to a container that they run, and what stays proven."""
    made = attacked.run(
        *("--env", "API_KEY=secret", "--env", "HTTPS_PROXY=http://proxy.example.org:3128"),
        *("--health-cmd", "/usr/bin/busybox true", "--health-interval", "1h"),
        *(
            "--restart",
            "unless-stopped",
            "--memory",
            "100m",
            "--cpus",
            "1",
            "--ulimit",
            "nofile=99",
        ),
        *("--tmpfs", "/tmp", "--read-only", "--cap-drop", "ALL", "--init", "--label", "a=b"),
        *("--security-opt", "no-new-privileges", "--hostname", "here", "--shm-size", "10m"),
        *("--publish", "127.0.0.1::8080", "--log-opt", "max-size=1m", "--add-host", "a:127.0.0.1"),
        *("--stop-signal", "INT", "--pids-limit", "50", "--tty", "--interactive"),
    )
    report = attacked.check(f"container:{made}")
    configuration(report, "proven")
    assert finding(report, "configuration").level == "B"
    assert finding(report, "configuration").reason == (
        "image, command, user, working folder and variables are those of the image statement, and "
        "nothing is written or mounted over them; outside of the proof: variable API_KEY, variable "
        "HTTPS_PROXY, a tmpfs at /tmp, the engine's init as first process, a health check"
    )
    assert "secret" not in str(report)


@pytest.mark.parametrize(
    "variable",
    [
        "PYTHONPATH=/tmp",
        "PYTHONSTARTUP=/tmp/x.py",
        "PYTHONHASHSEED=1",
        "LD_PRELOAD=/tmp/x.so",
        "LD_LIBRARY_PATH=/tmp",
        "GLIBC_TUNABLES=glibc.malloc.check=3",
        "OPENSSL_CONF=/tmp/openssl.cnf",
        "OPENBLAS_CORETYPE=Prescott",
        "MKL_CBWR=COMPATIBLE",
        "BLIS_ARCH_TYPE=0",
        "CUDA_VISIBLE_DEVICES=1",
        "HF_HOME=/tmp",
        "OMP_SCHEDULE=dynamic",
        # Declared in the lock, with another value.
        "OMP_NUM_THREADS=8",
        "PATH=/tmp:/usr/bin",
    ],
)
def test_a_variable_that_changes_what_runs(attacked: Attacked, variable: str) -> None:
    made = attacked.create("--env", variable)
    report = attacked.check(f"container:{made}")
    configuration(report, "refuted", f"variable {variable.partition('=')[0]}")


def test_a_variable_that_was_taken_away(attacked: Attacked) -> None:
    made = attacked.create("--env", "OMP_NUM_THREADS")
    configuration(attacked.check(f"container:{made}"), "refuted", "variable OMP_NUM_THREADS")


@pytest.mark.parametrize(
    "variable",
    # The second is declared, and loads code all the same when it is another of its kind.
    ["THRESHOLD=0.1", "PYTHONUNBUFFERED=1", "HOME=/tmp", "NVIDIA_VISIBLE_DEVICES=all"],
)
def test_a_variable_that_nobody_declared(attacked: Attacked, variable: str) -> None:
    made = attacked.create("--env", variable)
    report = attacked.check(f"container:{made}")
    configuration(report, "unproven", f"variable {variable.partition('=')[0]}")


@pytest.mark.parametrize(
    ("options", "command", "path"),
    [
        (("--entrypoint", "/usr/bin/busybox"), (), "config.Entrypoint"),
        ((), ("/usr/bin/busybox", "sleep", "600"), "config.Cmd"),
        (("--user", "0"), (), "config.User"),
        (("--workdir", "/tmp"), (), "config.WorkingDir"),
    ],
)
def test_another_program(
    attacked: Attacked, options: tuple[str, ...], command: tuple[str, ...], path: str
) -> None:
    made = attacked.create(*options, command=command)
    report = attacked.check(f"container:{made}")
    assert verdicts(report)["configuration"] == "refuted"
    assert path in paths(report, "configuration")
    assert report.exit_code() == 1


FILES = (f"{MODEL}/weights.bin", "/etc/ld.so.preload")
FOLDERS = (
    MODEL,
    f"{MODEL}/more",
    "/app",
    "/app/out",
    SITE,
    f"{SITE}/tiny_lib",
    "/opt",
    "/opt/venv",
    "/opt/mllock",
    "/usr",
    "/usr/lib/x",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/bin",
    "/etc",
    "/.local",
)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        *(("bind", target) for target in (*FOLDERS, *FILES)),
        *(("volume", target) for target in FOLDERS),
        *(("tmpfs", target) for target in FOLDERS),
    ],
)
def test_mounted_over_what_is_read(
    attacked: Attacked, tmp_path, kind: str, target: str, unique: str
) -> None:
    """Above, on and under it; through the links of the image as well."""
    source = tmp_path / "source"
    if target in FILES:
        source.write_bytes(b"other")
    else:
        source.mkdir()
    options = {
        "bind": ("--volume", f"{source}:{target}"),
        "volume": ("--volume", f"{unique}:{target}"),
        "tmpfs": ("--tmpfs", target),
    }[kind]
    made = attacked.create(*options)
    try:
        report = attacked.check(f"container:{made}")
    finally:
        attacked.docker("rm", "--force", "--volumes", made)
        attacked.containers.remove(made)
        if kind == "volume":
            attacked.docker("volume", "rm", "--force", unique)
    where = {"/lib": "/usr/lib", "/bin": "/usr/bin"}
    real = next((v + target[len(k) :] for k, v in where.items() if target.startswith(k)), target)
    if target != f"{MODEL}/more":
        configuration(report, "refuted", real)
    elif kind != "tmpfs":
        # The engine has made the folder that it is mounted on already.
        assert paths(report, "model") == paths(report, "configuration") == [real]
    words = {"bind": f"a bind of {source}", "volume": f"a volume of {unique}", "tmpfs": "a tmpfs"}
    assert finding(report, "configuration").differences[0].found == words[kind]


def test_mounted_elsewhere(attacked: Attacked, tmp_path) -> None:
    made = attacked.run(
        *("--volume", f"{tmp_path}:/data/in"),
        *("--volume", "/data/anonymous"),
        *("--tmpfs", "/scratch"),
        *("--mount", "type=tmpfs,destination=/run"),
    )
    report = attacked.check(f"container:{made}")
    configuration(report, "unproven", "/data/anonymous", "/data/in")
    assert "outside of the proof: a tmpfs at /run, a tmpfs at /scratch" in (
        finding(report, "configuration").reason
    )


def test_mounted_later_in_its_own_namespace(attacked: Attacked) -> None:
    """Neither the engine's description nor its export shows it; the kernel does."""
    if shutil.which("nsenter") is None:
        pytest.skip("no nsenter")
    made = attacked.run()
    pid = attacked.docker("inspect", "--format", "{{.State.Pid}}", made)
    configuration(attacked.check(f"container:{made}"), "proven")
    subprocess.run(
        ["nsenter", "--target", pid, "--mount", *BUSYBOX, "mount", "-t", "tmpfs", "none", MODEL],
        check=True,
    )
    report = attacked.check(f"container:{made}")
    configuration(report, "refuted", MODEL)
    assert finding(report, "configuration").differences[0].found == "a mount of tmpfs, made later"


def test_a_link_leads_a_mount_over_the_model(attacked: Attacked, unique: str) -> None:
    """The name of the mount is harmless; where it comes to lie at the next start is not."""
    made = attacked.run("--volume", f"{unique}:/data/model")
    attacked.shell(made, "mv /data /old; ln -s /app/out /data")
    try:
        attacked.docker("restart", "--time", "1", made)
        report = attacked.check(f"container:{made}")
    finally:
        attacked.docker("rm", "--force", made)
        attacked.containers.remove(made)
        attacked.docker("volume", "rm", "--force", unique)
    assert verdicts(report)["configuration"] == "refuted"
    assert MODEL in paths(report, "configuration")
    assert report.exit_code() == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (("--privileged",), "HostConfig.Privileged"),
        (("--cap-add", "SYS_ADMIN"), "HostConfig.CapAdd"),
        (("--pid", "host"), "HostConfig.PidMode"),
        (("--ipc", "host"), "HostConfig.IpcMode"),
        (("--security-opt", "seccomp=unconfined"), "HostConfig.SecurityOpt"),
        (("--security-opt", "systempaths=unconfined"), "HostConfig.MaskedPaths"),
        (("--group-add", "0"), "HostConfig.GroupAdd"),
        (("--device", "/dev/null:/dev/other"), "/dev/other"),
        (("--device-cgroup-rule", "c 1:* rmw"), "HostConfig.DeviceCgroupRules"),
        (("--gpus", "all"), "HostConfig.DeviceRequests"),
    ],
)
def test_what_lets_others_in(attacked: Attacked, options: tuple[str, ...], path: str) -> None:
    made = attacked.create(*options)
    report = attacked.check(f"container:{made}")
    assert verdicts(report)["configuration"] == "unproven"
    assert path in paths(report, "configuration")
    assert report.exit_code() == 3


def test_a_device_where_code_is(attacked: Attacked) -> None:
    made = attacked.create("--device", f"/dev/null:{SITE}/x.so")
    configuration(attacked.check(f"container:{made}"), "refuted", f"{SITE}/x.so")


def test_somebody_is_in_it(attacked: Attacked) -> None:
    """A session of exec changes nothing by itself; what it writes is found."""
    made = attacked.run()
    attacked.docker("exec", "--detach", made, "/usr/bin/busybox", "sleep", "100")
    configuration(attacked.check(f"container:{made}"), "proven")
