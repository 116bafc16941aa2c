"""Who may make this machine send probes, which record they are of, and `--probe`.

Nothing is asked of an address because an unsigned file says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.deployed import ALIKE, Deployed, everything, finding, proxy
from support.serving import declared_only, start_mllock, with_serve
from support.training import locked

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.core import canonical
from mllock.errors import InputError, RunError
from mllock.workflows.check import check_target
from mllock.workflows.train import train


def test_changed_answers_are_found_and_not_used(mine: Deployed, listening):
    url, asked = listening
    path = mine.run / "probes.json"
    value = json.loads(path.read_bytes())
    value["probes"][0]["answer"]["text"] = "{}"
    path.write_bytes(canonical.dumps(value))
    report = mine.check(url)
    assert finding(report, "lineage").verdict == "refuted"
    assert finding(report, "lineage").differences[0].path == f"{mine.run.name}/probes.json"
    assert finding(report).verdict == "unproven"
    assert finding(report).reason == (
        "no probe was sent: probes.json is not the file that the record names"
    )
    assert asked == []
    assert report.exit_code() == 1


def test_every_byte_of_the_answers_counts(mine: Deployed):
    path = mine.run / "probes.json"
    data = path.read_bytes()
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert mine.check().exit_code() == 1, at
    path.write_bytes(data)
    assert mine.check().exit_code() == 3


def test_answers_that_are_gone(mine: Deployed, listening):
    url, asked = listening
    (mine.run / "probes.json").unlink()
    report = mine.check(url)
    assert finding(report).reason == (
        "no probes.json lies beside the record: answers stay in the run folder"
    )
    assert finding(report).cure == f"check where run {mine.run.name} is"
    assert report.exit_code() == 3
    assert asked == []


AS_NOBODY = """
import os, sys
from pathlib import Path
from mllock.attest.policy import Trust
from mllock.check.evidence import Signed
from mllock.check.expected import Source, kept_files
from mllock.check.probing import ask_recorded
from mllock.probes.address import parse_address
from mllock.train.runs import RunFolder
run = RunFolder(Path(sys.argv[1]))
trust = Trust(status="own key", reason="", fingerprint="", payload=run.bundle().payload)
source = Source(name="x", data=run.bundle_bytes(), folder=run.path, run=run)
signed = Signed(name="x", trust=trust, value=run.record())
address = parse_address("http://127.0.0.1:1")
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(sorted(kept_files(run)))
print(ask_recorded(address, source, signed).problem)
"""


def test_answers_are_for_their_owner_and_stop_nobody_else(tmp_path: Path, mine: Deployed):
    """Other checks of a project that several users share go on without them."""
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(mine.run, folder / mine.run.name)
        folder.chmod(0o755)
        if os.geteuid() != 0:  # who cannot be somebody else takes the file from himself
            (folder / mine.run.name / "probes.json").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder / mine.run.name)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert done.stderr == ""
    kept, problem = done.stdout.splitlines()
    assert "record.json" in kept
    assert "probes.json" not in kept
    assert problem == f"probes.json of run {mine.run.name} is for its owner only"


def test_a_record_by_an_unknown_key_sends_nothing(mine: Deployed, listening, tmp_path: Path):
    url, asked = listening
    shutil.rmtree(mine.ctx.config_dir)
    report = mine.check(url)
    assert finding(report, "signature").verdict == "unproven"
    assert finding(report).reason == (
        "no probe was sent: the record that names them has no trusted signature"
    )
    assert asked == []
    assert report.exit_code() == 3


def test_a_forged_record_sends_nothing(mine: Deployed, listening, tmp_path: Path):
    """Signed by somebody else, while a policy says whom to trust."""
    url, asked = listening
    key = load_or_create_key(mine.ctx.config_dir, mine.ctx.environ)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[trust]]\nproject = "tiny"\npublic-key = """\n{key.public.pem}"""\n')
    assert finding(mine.check(policy=policy)).reason == ALIKE
    other = load_or_create_key(tmp_path / "somebody", {})
    payload = (mine.run / "record.json").read_bytes()
    (mine.run / "record.sigstore.json").write_bytes(sign_statement(payload, other))
    report = mine.check(url, policy=policy)
    assert finding(report, "signature").verdict == "refuted"
    assert finding(report).verdict == "unproven"
    assert asked == []
    assert report.exit_code() == 1


def test_a_run_without_probes(tmp_path: Path, listening):
    url, asked = listening
    ctx = locked(tmp_path, **with_serve(probes=None))
    run = train(ctx, environment_of=declared_only).run
    report = check_target(ctx, url)
    assert finding(report).reason == f"run {run.id} recorded no probes"
    assert finding(report).cure == "declare [serve] probes, and train again"
    assert report.exit_code() == 3
    assert asked == []


def test_record_names_a_file_with_its_answers_beside_it(deployed: Deployed, tmp_path: Path):
    for name in ("record.sigstore.json", "probes.json", "mlproject.lock"):
        shutil.copy(deployed.run / name, tmp_path / name)
    report = deployed.check(record=tmp_path / "record.sigstore.json")
    assert finding(report).reason == ALIKE
    assert report.record == f"{tmp_path}/record.sigstore.json (--record)"


def test_no_record_at_all(tmp_path: Path):
    ctx = locked(tmp_path)
    with pytest.raises(InputError) as caught:
        check_target(ctx, "http://127.0.0.1:1")
    assert str(caught.value) == (
        "http://127.0.0.1:1: there is no record to check it against\n"
        "hint: name one with --record FILE, or check in the project that trained it"
    )
    with pytest.raises(RunError):
        check_target(ctx, "http://127.0.0.1:1", run="2026")


# What the verifier wants to be sent.


def authorized(deployed: Deployed, value: str) -> Deployed:
    environ = {**deployed.ctx.environ, "MLLOCK_PROBE_AUTHORIZATION": value}
    return replace(deployed, ctx=replace(deployed.ctx, environ=environ))


def test_a_token_is_sent_and_never_shown(deployed: Deployed):
    seen: list[str | None] = []

    def change(path: str, body: bytes, headers: Mapping[str, str]) -> None:
        seen.append(headers.get("Authorization"))

    with proxy(deployed.url, change) as url:
        report = authorized(deployed, "Bearer hunter2").check(url)
        assert finding(report).reason == ALIKE
        assert "hunter2" not in repr(report)
        assert finding(deployed.check(url)).reason == ALIKE
    assert seen == ["Bearer hunter2"] * 4 + [None] * 4


def test_a_token_is_not_sent_where_others_read(deployed: Deployed):
    with pytest.raises(InputError) as caught:
        authorized(deployed, "Bearer hunter2").check("http://wine.example.org")
    assert str(caught.value) == (
        "http://wine.example.org: MLLOCK_PROBE_AUTHORIZATION is not sent over http, where others "
        "can read it\nhint: use https://, or unset it"
    )


def test_a_token_of_two_lines(deployed: Deployed):
    with pytest.raises(InputError) as caught:
        authorized(deployed, "Bearer hunter2\r\nHost: x").check()
    assert str(caught.value) == (
        "MLLOCK_PROBE_AUTHORIZATION is not the value of a header\nexpected: printable ASCII"
    )


# Beside another target.


def test_a_folder_and_the_endpoint_that_serves_it(deployed: Deployed):
    folder = str(deployed.run / "model")
    report = deployed.check(folder, probe=deployed.url)
    assert finding(report, "model").verdict == "proven"
    assert finding(report).reason == ALIKE
    assert report.exit_code() == 3
    assert report.checked_bytes == report.expected_bytes
    without = deployed.check(folder)
    assert finding(without).reason == "nothing is run by this check"
    assert without.exit_code() == 0
    assert report.checked_bytes > without.checked_bytes


def test_the_option_on_the_command_line(deployed: Deployed):
    folder = str(deployed.run / "model")
    with start_mllock(deployed.ctx, "check", folder, "--probe", deployed.url) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert f"\nbehaviour      unproven   D  {ALIKE}\n".encode() in out


def test_a_right_folder_with_a_wrong_endpoint(deployed: Deployed):
    with everything(200, b"{}") as url:
        report = deployed.check(str(deployed.run / "model"), probe=url)
    assert finding(report, "model").verdict == "proven"
    assert finding(report).verdict == "refuted"
    assert report.exit_code() == 1


def test_probe_of_an_endpoint_is_one_too_many(deployed: Deployed):
    with pytest.raises(InputError) as caught:
        deployed.check(probe=deployed.url)
    assert str(caught.value) == "--probe: the target is an endpoint, and is asked itself"
