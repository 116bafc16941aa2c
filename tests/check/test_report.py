"""The one way to exit 0, and how a report is shown."""

from __future__ import annotations

import itertools
import json
import unicodedata

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.tamper import flip

from mllock.check.report import escape, lines, to_json
from mllock.check.types import CLAIMS, Difference, Finding, Report
from mllock.cli.app import App
from mllock.cli.check import command

VERDICTS = ("proven", "refuted", "unproven", "not asked")


def report(*given_verdicts, accepted=(), checked=1, expected=1, **changes):
    findings = tuple(
        Finding(claim=claim, verdict=verdict, reason="r", level="A")
        for claim, verdict in zip(CLAIMS, given_verdicts, strict=False)
    )
    return Report(
        target="t",
        chosen="c",
        record="r",
        findings=findings,
        accepted=frozenset(accepted),
        checked_bytes=checked,
        expected_bytes=expected,
        **changes,
    )


def test_every_combination_of_three_verdicts():
    for verdicts in itertools.product(VERDICTS, repeat=3):
        code = report(*verdicts, *["not asked"] * 5).exit_code()
        if "refuted" in verdicts:
            assert code == 1
        elif "unproven" in verdicts or "proven" not in verdicts:
            assert code == 3
        else:
            assert code == 0


def test_what_else_is_never_0():
    assert report(*["proven"] * 8).exit_code() == 0
    assert report(*["proven"] * 7).exit_code() == 1
    assert report().exit_code() == 1
    assert report(*["proven"] * 8, checked=0).exit_code() == 1
    assert report(*["not asked"] * 8).exit_code() == 3
    assert report(*["unproven"] * 8, accepted=CLAIMS).exit_code() == 3
    assert report("refuted", *["proven"] * 7, accepted=CLAIMS).exit_code() == 1
    assert report("unproven", *["proven"] * 7, accepted=["signature"]).exit_code() == 0
    assert report("unproven", *["proven"] * 7, accepted=["model"]).exit_code() == 3
    doubled = report(*["proven"] * 8)
    assert (
        Report(
            target="t", chosen="c", record="r", findings=(doubled.findings[0], *doubled.findings)
        ).exit_code()
        == 1
    )


@pytest.mark.parametrize("level", [None, "C", "D", "N"])
def test_nothing_is_proven_by_hearsay(level):
    with pytest.raises(ValueError, match="proven needs evidence of level A or B"):
        Finding(claim="model", verdict="proven", reason="it says so", level=level)


@given(st.text())
def test_escaped_text_is_one_plain_line(text):
    escaped = escape(text)
    assert not any(unicodedata.category(char)[0] == "C" for char in escaped)
    assert len(escaped.splitlines()) <= 1
    assert "\n" not in escaped
    assert "\x1b" not in escaped
    assert "\u202e" not in escaped
    escaped.encode("utf-8")


def test_escapes():
    assert escape("a\\b") == "a\\\\b"
    assert escape("a\x1b[31m\u202eé\udcff\n") == "a\\x1b[31m\\u202eé\\udcff\\n"


def test_lines():
    findings = (
        Finding(
            claim="model",
            verdict="refuted",
            level="A",
            reason="not the model",
            differences=(Difference(path="a\nb", expected="x", found="nothing"),),
            differing=3,
            cure="look there",
        ),
        Finding(claim="environment", verdict="unproven", reason="why", cure="do this"),
        Finding(claim="release", verdict="not asked", reason="no stage was named"),
    )
    shown = Report(target="t", chosen="the folder t", record="r (why)", findings=findings)
    assert "\n".join(lines(shown)) == (
        "checked  the folder t\n"
        "against  r (why)\n"
        "\n"
        "model          refuted    A  not the model\n"
        "               a\\nb\n"
        "                 expected  x\n"
        "                 found     nothing\n"
        "               and 2 more\n"
        "               hint: look there\n"
        "environment    unproven      why\n"
        "               to prove it: do this\n"
        "release        not asked     no stage was named\n"
        "\n"
        "0 of 2 asked claims proven; refuted: model; unproven: environment"
    )


def invoke(world, monkeypatch, *arguments):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(world.root / "config"))
    monkeypatch.setenv("MLLOCK_KEY", "")
    return CliRunner().invoke(
        command, list(arguments), obj=App(project=world.project), standalone_mode=False
    )


def test_the_command(world, monkeypatch):
    done = invoke(world, monkeypatch, f"oci:{world.oci}")
    assert done.return_value == 3
    assert "\nenvironment    unproven      3 layers are the environment sha256:" in done.stdout
    done = invoke(world, monkeypatch, f"oci:{world.oci}", "--allow-unproven", "environment")
    assert done.return_value == 0
    assert "(accepted)" in done.stdout


def test_json_and_text_are_the_same_findings(world, monkeypatch):
    folder = world.deployed()
    (folder / "weights.bin").write_bytes(flip((folder / "weights.bin").read_bytes()))
    done = invoke(world, monkeypatch, str(folder), "--json")
    value = json.loads(done.stdout)
    assert done.return_value == value["exit-code"] == 1
    assert value == to_json(world.check(str(folder)))
    assert sorted(value) == [
        "checked-bytes",
        "chosen",
        "exit-code",
        "expected-bytes",
        "findings",
        "gates",
        "record",
        "run",
        "target",
        "version",
    ]
    model = value["findings"][2]
    assert (model["claim"], model["verdict"], model["level"]) == ("model", "refuted", "A")
    assert [d["path"] for d in model["differences"]] == ["weights.bin"]


def test_json_is_utf8_whatever_the_names(world, monkeypatch):
    folder = world.deployed()
    (folder / "\udcff\u202e").write_bytes(b"")
    done = invoke(world, monkeypatch, str(folder), "--json")
    model = json.loads(done.stdout)["findings"][2]
    assert [d["path"] for d in model["differences"]] == ["\\udcff\\u202e"]


def test_a_policy_file_that_is_not_there(world, monkeypatch):
    done = invoke(world, monkeypatch, str(world.deployed()), "--policy", "no.toml")
    assert str(done.exception) == "no.toml: no such policy file"
