"""`mllock report`, typed: where it goes, what it is made from, and mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.judged_runs import put_all
from support.releases import put_release
from support.reports import Parts
from support.typed import Typed
from support.world import OTHER, RUN, World

from mllock.attest.keys import load_or_create_key


def written(typed: Typed, *words: str) -> str:
    code, out, err = typed("report", *words, "--output", "-")
    assert (code, err) == (0, "")
    return out


def test_a_page_of_its_own(typed: Typed, world: World) -> None:
    put_release(world)
    code, out, err = typed("report")
    path = world.project / ".mllock" / "reports" / f"{RUN}.html"
    assert (code, out, err) == (0, f"{path}\n", "")
    page = path.read_text(encoding="utf-8")
    assert page == written(typed, RUN) == written(typed, RUN[:10])
    text = Parts(page).text
    record = json.loads(typed("show", "--json")[1])
    for digest in (
        record["model"],
        record["lock"],
        record["environment"],
        *record["data"].values(),
    ):
        assert digest in text
    assert "signed by this machine's own key" in text
    assert "production: release 1, " in text
    assert "mllock train --set alpha=0.5" in text


def test_the_same_run_elsewhere_is_the_same_page(
    typed: Typed, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = written(typed, RUN)
    shutil.copytree(world.project, tmp_path / "elsewhere" / "project")
    monkeypatch.chdir(tmp_path / "elsewhere" / "project")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert written(typed, RUN) == here
    put_all(world.other, world.key)
    assert written(typed, OTHER) != here


def test_forms(typed: Typed, tmp_path: Path) -> None:
    assert typed("report", "--format", "md")[1].startswith("### tiny 1.2.3: run `")
    assert typed("report", "--format", "card")[1].startswith("---\ntags:\n- mllock\n")
    place = tmp_path / "new" / "card.md"
    assert typed("report", "--format", "card", "-o", str(place))[1] == f"{place}\n"
    assert place.read_text(encoding="utf-8") == typed("report", "--format", "card")[1]
    card = typed("report", "--format", "card", "--license", "mit", "--task", "tabular-regression")[
        1
    ]
    assert card.startswith("---\nlicense: mit\n")
    assert "      type: tabular-regression\n" in card


def test_keys_of_rows(typed: Typed) -> None:
    assert "p-17" in written(typed)
    assert "p-17" not in written(typed, "--no-keys")
    assert "p-17" not in written(typed, "--format", "md")
    assert "p-17" in written(typed, "--format", "md", "--keys")


def test_what_was_tampered_with_is_not_shown(typed: Typed, world: World, tmp_path: Path) -> None:
    path = world.run / "model-gates.json"
    path.write_bytes(path.read_bytes().replace(b"0.93", b"0.99"))
    text = " ".join(Parts(written(typed)).text.split())
    assert (
        f"{RUN}/model-gates.json: not the bytes that the statement names; its content is not shown"
    ) in text
    assert "recall by sex" not in text
    key = load_or_create_key(tmp_path / "somebody", {})
    put_all(world.run, key)
    text = " ".join(Parts(written(typed)).text.split())
    assert f"data-gates unknown, not trusted {key.public.fingerprint}" in text


def test_a_run_of_somebody_else(typed: Typed, world: World, tmp_path: Path) -> None:
    """Signed by a key that nobody here trusts: said where one looks first, and in every form."""
    policy = tmp_path / "policy.toml"
    pem = load_or_create_key(tmp_path / "somebody", {}).public.pem
    policy.write_text(f'[[trust]]\nproject = "tiny"\npublic-key = """\n{pem}"""\n')
    text = " ".join(Parts(written(typed, "--policy", str(policy))).text.split())
    assert text.count("not trusted") >= 2 + 4
    md = written(typed, "--policy", str(policy), "--format", "md")
    assert md.splitlines()[2].startswith(
        "**Gates: ❌ not trusted** (1 failed, 1 accepted, 2 passed, 3 warned, 1 not judged) · "
        "signature: **❌ unknown, not trusted** · released: "
    )
    card = written(typed, "--policy", str(policy), "--format", "card")
    assert "is signed, by a key that whoever wrote this card does not trust.\n" in card
    assert "Gates: not trusted." in card


def test_a_run_that_was_not_judged(typed: Typed) -> None:
    assert "Nothing was judged." in Parts(written(typed, OTHER)).text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--license", "mit"), "--license is for a model card\nhint: add --format card"),
        (("--task", "x", "--format", "md"), "--task is for a model card\nhint: add --format card"),
        (
            ("--keys", "--format", "card"),
            "a model card names no rows\nhint: leave out --keys, or use another format",
        ),
        (("-o", "."), ".: a folder, not a file"),
        (("nope",), 'no run "nope"\nhint: see "mllock runs"'),
    ],
)
def test_mistakes(typed: Typed, words: tuple[str, ...], message: str) -> None:
    assert typed("report", *words) == (2, "", f"error: {message}\n")


def test_a_failed_run(typed: Typed, world: World) -> None:
    for path in world.run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (world.run / "failed.json").write_text(
        json.dumps({"run": RUN, "kind": "program", "reason": "it failed with exit code 3"})
    )
    assert typed("report", RUN) == (
        2,
        "",
        f"error: {RUN}: the run failed, and there is nothing to report: "
        "it failed with exit code 3\n"
        f"hint: its log is {world.run / 'log.txt'}\n",
    )
