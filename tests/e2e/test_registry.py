"""The starter through a real registry: built, pushed, checked where it is, pulled elsewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.e2e import must
from support.registry import PASSWORD, USER, RealRegistry, docker_config, registry_basic

pytestmark = pytest.mark.e2e

__all__ = ["registry_basic"]


def test_the_line(
    starter: Path, e2e_environ: dict[str, str], registry_basic: RealRegistry, tmp_path: Path
) -> None:
    where = f"registry:{registry_basic.host}/team/wine:1.0"
    login = registry_basic.logged_in(tmp_path / "docker")
    environ = {**e2e_environ, "DOCKER_CONFIG": login["DOCKER_CONFIG"]}
    built = must(starter, "build", "--output", where, environ=environ).stdout.splitlines()
    assert built[-1].startswith(f"pushed {registry_basic.host}/team/wine:1.0-serve@sha256:")
    pushed = must(starter, "push", where, environ=environ).stdout
    digest = re.search(r"@(sha256:[0-9a-f]{64})$", pushed.rstrip())
    assert digest is not None
    accepted = ("--allow-unproven", "environment")
    must(starter, "check", where, *accepted, environ=environ)
    # Another machine: nothing but a policy and a login.
    home = tmp_path / "home"
    (home / "wine").mkdir(parents=True)
    key = Path(e2e_environ["XDG_CONFIG_HOME"]) / "mllock" / "keys" / "default.key"
    public = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, text=True, check=True
    ).stdout
    policy = home / "policy.toml"
    policy.write_text(f'[[trust]]\nproject = "wine"\npublic-key = """\n{public}"""\n')
    there = {
        "HOME": str(home),
        "MLLOCK_CACHE": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        **docker_config(home / "docker", registry_basic.host, USER, PASSWORD),
    }
    by_digest = where.replace(":1.0", f"@{digest[1]}")
    with_policy = ("--policy", str(policy))
    must(home / "wine", "pull", by_digest, *with_policy, environ=there)
    must(home / "wine", "check", "oci:.mllock/oci", *with_policy, *accepted, environ=there)
    must(home / "wine", "check", where, *with_policy, *accepted, environ=there)
    (run,) = (home / "wine" / ".mllock" / "runs").iterdir()
    must(home / "wine", "check", str(run / "model"), *with_policy, environ=there)
    with (run / "model" / "model.joblib").open("r+b") as file:
        file.seek(1000)
        file.write(b"X")
    must(home / "wine", "check", str(run / "model"), *with_policy, environ=there, code=1)
