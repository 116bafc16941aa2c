"""`mllock gates` typed: what it says of good data, of leaks, and of what cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.training import Typed, context
from support.typed import typed_in

HEAD = "id,age,town,sick\n"
ROWS = [
    f"{place},{20 + place % 50},{'nsew'[place % 4]},{'ny'[place % 3 == 0]}" for place in range(300)
]
TRAIN = HEAD + "\n".join(ROWS[:200]) + "\n"
# Of other towns, so that no row is in both.
TEST = HEAD + "\n".join(row.replace(",", ",1", 1) for row in ROWS[200:]) + "\n"
ROLES = 'label = "sick"\nkey = ["id"]\n'
FILES = {"train.csv": TRAIN, "test.csv": TEST}


def spec(
    gates: str = "", train: str = "train.csv", test: str = "test.csv", roles: str = ROLES
) -> str:
    return f"""\
[project]
name = "t"

[environment]
python = "3.11"

[data.train]
source = "data/{train}"
{roles}
[data.test]
source = "data/{test}"
role = "test"
{ROLES}
{gates}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / "data" / name).write_text(text)
    (folder / "mlproject.toml").write_text(spec())
    return folder


@pytest.fixture
def typed(project: Path, monkeypatch, capfd) -> Typed:
    return typed_in(context(project), monkeypatch, capfd)


def declare(project: Path, gates: str, **options: str) -> None:
    (project / "mlproject.toml").write_text(spec(gates, **options))


def put(project: Path, name: str, text: str) -> None:
    (project / "data" / name).write_text(text)


def test_what_nobody_declared_stops_nothing(project: Path, typed: Typed):
    put(project, "test.csv", TEST + "900,25,s,n\n")
    code, out, err = typed("gates")
    assert code == 0
    assert out.splitlines()[:3] == [
        "not declared in [gates], and stopping nothing:",
        "warned      leakage.rows             train, test: 1 row of test is in train",
        "              row 101 of test (id = 900) and row 6 of train (id = 5)",
    ]
    assert out.splitlines()[-1].endswith("that are not declared would hold; -v shows them")
    assert err.splitlines()[0] == "asking the gates about the data"
    assert err.splitlines()[-1] == (
        "hint: to be stopped by it, declare [gates.leakage], [gates.drift] in mlproject.toml"
    )


def test_what_is_declared_is_the_answer(project: Path, typed: Typed):
    declare(project, "[gates.leakage]\n[gates.columns]")
    code, out, err = typed("gates")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[:8]] == [
        ["passed", "leakage.rows"],
        ["passed", "leakage.normalised-rows"],
        ["passed", "leakage.keys"],
        ["passed", "leakage.label"],
        *[["passed", "columns.constant"]] * 2,
        *[["passed", "columns.missing"]] * 2,
    ]
    assert "8 declared gates hold\n" in err
    put(project, "test.csv", TEST + "900,25,s,n\n" + "7,99,s,n\n")
    code, out, err = typed("gates", "-q")
    assert code == 1
    assert out.splitlines()[:4] == [
        "failed      leakage.rows             train, test: 1 row of test is in train",
        "              row 101 of test (id = 900) and row 6 of train (id = 5)",
        'failed      leakage.keys             train, test: 1 row of test has a key ("id") that '
        "train has as well",
        "              row 102 of test (id = 7) and row 8 of train (id = 7)",
    ]
    assert err == ""
    declare(project, '[gates.leakage]\nseverity = "warn"')
    assert typed("gates", "-q")[0] == 0


def test_json_is_for_programs(project: Path, typed: Typed):
    declare(project, "[gates.leakage]")
    put(project, "test.csv", TEST + "900,25,s,n\n")
    code, out, _ = typed("gates", "--json")
    found = json.loads(out)
    assert (code, found["failed"], found["run"], found["signed-by"]) == (1, 1, None, None)
    assert found["declared"][0] == {
        "gate": "leakage.rows",
        "subject": "train, test",
        "verdict": "failed",
        "severity": "block",
        "summary": "1 row of test is in train",
        "measured": pytest.approx(1 / 101),
        "limit": 0.0,
        "rows": 1,
        "broken": [
            [
                {"source": "test", "file": "", "row": 101, "key": {"id": "900"}},
                {"source": "train", "file": "", "row": 6, "key": {"id": "5"}},
            ]
        ],
        "details": {"columns": ["age", "sick", "town"], "repeated": {"train": 33}},
    }
    assert {one["gate"].partition(".")[0] for one in found["not-declared"]} == {"columns", "drift"}
    assert found["not-asked"] == []


def test_labels_that_training_does_not_have(project: Path, typed: Typed):
    declare(project, '[gates.drift]\nseverity = "block"')
    put(project, "test.csv", TEST + "900,150,s,maybe\n901,151,s,maybe\n")
    code, out, _ = typed("gates", "-q")
    assert code == 1
    lines = out.splitlines()
    assert lines[0].startswith(
        "failed      drift.label              train, test: "
        '"maybe" is a label that train does not have, of 2 rows; "sick" '
    )
    assert lines[1:3] == [
        "              row 101 of test (id = 900)",
        "              row 102 of test (id = 901)",
    ]


def test_a_reference_is_what_is_expected(project: Path, typed: Typed):
    """Data that a split is held against, with a label that the split need not have."""
    declare(
        project, '[gates.drift]\n\n[data.census]\nsource = "data/census.csv"\nrole = "reference"'
    )
    put(project, "census.csv", HEAD + "\n".join(ROWS[:250]) + "\n")
    _, out, _ = typed("gates", "--json")
    subjects = [f"{one['gate']}: {one['subject']}" for one in json.loads(out)["declared"]]
    assert subjects == [
        "drift.label: train, test",
        "drift.missing: train, test",
        "drift.missing: census, train",
        "drift.missing: census, test",
    ]


DRIFT_AGE = '[gates.drift]\ncolumns = ["age"]'
BAD = {
    "a label that is not there": (
        {"roles": 'label = "sik"\n'},
        {},
        "mlproject.toml:9: data.train.label: train has no column 'sik'\n"
        'hint: did you mean "sick"?\n',
    ),
    "a column of drift": (
        {"gates": '[gates.drift]\ncolumns = ["weight"]'},
        {},
        "mlproject.toml:19: gates.drift.columns[0]: train has no column 'weight'\n"
        "hint: it has 'id', 'age', 'town', 'sick'\n",
    ),
    "a column to ignore": (
        {"gates": '[gates.columns]\nignore = ["twon"]'},
        {},
        "mlproject.toml:19: gates.columns.ignore[0]: train has no column 'twon'\n"
        'hint: did you mean "town"?\n',
    ),
    "a column of another type": (
        {"gates": DRIFT_AGE},
        {"test.csv": TEST + "900,old,s,n\n"},
        'data/test.csv: data.test: "age" has text here, and numbers in data/train.csv\n'
        "found: no number in row 101\n"
        "hint: write the column in the same way in both\n",
    ),
    "a label of another type": (
        {"gates": "[gates.drift]"},
        {"train.csv": "id,sick\n1,0\n2,1\n", "test.csv": "id,sick\n3,no\n4,1\n"},
        'data/test.csv: data.test: "sick" has text here, and numbers in data/train.csv\n'
        "found: no number in row 1\n"
        "hint: write the column in the same way in both\n",
    ),
    "an empty split": (
        {"gates": "[gates.leakage]"},
        {"test.csv": HEAD},
        "data/test.csv: no rows\nhint: put rows there, or another source\n",
    ),
    "an empty split that nobody declared a gate about": (
        {},
        {"test.csv": HEAD},
        "data/test.csv: no rows\nhint: put rows there, or another source\n",
    ),
    "what is no table": (
        {"gates": "[gates.leakage]", "test": "weights.bin", "roles": ROLES},
        {"weights.bin": "\0"},
        "data/weights.bin: not a table\n"
        "expected: a folder, or a file that ends with .csv.gz, .tsv.gz, .csv, .tsv, .parquet, "
        ".jsonl, .ndjson, .arrow, .feather, .npy or .npz\n"
        "hint: if it is no split, name those that are: "
        '[gates.leakage] between = ["train", "test"]\n',
    ),
    "data that is not there": (
        {"gates": "[gates.leakage]", "test": "gone.csv"},
        {},
        "mlproject.toml:13: data.test.source: no such file or folder: 'data/gone.csv'\n"
        "hint: put the data there, or correct the path\n",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, project: Path, typed: Typed):
    options, files, message = BAD[case]
    declare(project, **{"gates": "", **options})
    for name, text in files.items():
        put(project, name, text)
    assert typed("gates", "-q") == (2, "", f"error: {message}")


def test_no_data(project: Path, typed: Typed):
    (project / "mlproject.toml").write_text(spec().split("[data")[0])
    assert typed("gates") == (
        2,
        "",
        "error: mlproject.toml: there is no data to ask about\n"
        'hint: declare some, e.g. [data.train] with source = "data/train.csv"\n',
    )


def test_what_cannot_be_asked_and_was_not_declared_is_said(project: Path, typed: Typed):
    put(project, "test.csv", TEST + "900,old,s,n\n")
    code, _, err = typed("gates", "-q")
    assert code == 0
    assert err == (
        "warning: not asked: drift: data/test.csv: data.test: "
        '"age" has text here, and numbers in data/train.csv\n'
        "found: no number in row 101\n"
        "hint: write the column in the same way in both\n"
    )


def test_a_folder_of_images_is_asked_by_content(project: Path, typed: Typed):
    for split, names in (("train", "abc"), ("test", "xyc")):
        for name in names:
            path = project / "data" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"\x89PNG" + name.encode())
    declare(project, "[gates.leakage]", train="train", test="test", roles='label = "label"\n')
    text = (project / "mlproject.toml").read_text()
    (project / "mlproject.toml").write_text(text.replace(ROLES, 'label = "label"\n'))
    code, out, _ = typed("gates", "-q")
    assert code == 1
    assert out.splitlines()[:2] == [
        "failed      leakage.rows             train, test: 1 row of test is in train",
        "              row 1 of test and row 3 of train",
    ]
