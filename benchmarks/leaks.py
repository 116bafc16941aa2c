"""What other tools find of the leaks that are planted in the tests: the same files, their defaults.

    python benchmarks/leaks.py [--deepchecks PYTHON] [--evidently PYTHON]

PYTHON is an interpreter of an environment that has the tool; both want older libraries than ours
and live in environments of their own. Without one, its column stays empty. Prints a table in
Markdown, and what each tool said of clean splits; docs/explanation/gates-compared.md has both.

Found is: a check that is about this kind of leak does not pass. Notes that count for nothing:
deepchecks' "Train Test Samples Mix" passes up to 5%, so the planted share is 20% here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETS = ("wine", "generated-500")
SEEDS = (0, 1)
# Kind of leak -> what a finding about it is called, by tool.
ABOUT = {
    "rows": (r"leakage\.rows", r"Samples Mix", r"^never$"),
    "normalised rows": (r"leakage\.normalised-rows", r"Samples Mix|String Mismatch", r"^never$"),
    "keys": (r"leakage\.keys", r"Index Train Test Leakage", r"^never$"),
    "groups": (r"leakage\.groups", r"^never$", r"^never$"),
    "time": (r"leakage\.time", r"Date Train Test Leakage", r"^never$"),
    "label": (r"leakage\.label", r"Feature.Label Correlation", r"^never$"),
    "constant": (r"columns\.constant", r"Single Value", r"Constant"),
    "missing": (r"columns\.missing", r"Null|Single Value", r"[Ee]mpty"),
    "drift of the label": (r"drift\.label", r"Label Drift", r"Drift for column label"),
    "drift of a column": (r"drift\.columns", r"Feature Drift", r"Drift for column (?!label)"),
    "drift of missing": (r"drift\.missing", r"Null", r"Missing"),
}
TOOLS = ("mllock", "deepchecks", "evidently")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--deepchecks")
    parser.add_argument("--evidently")
    parser.add_argument("--ask", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        tool, *folders = options.ask
        asked = {"deepchecks": deepchecks, "evidently": evidently}[tool]
        print("\n" + json.dumps([asked(folder) for folder in folders]))
        return
    sys.path.insert(0, str(ROOT / "tests"))
    pythons = {"mllock": sys.executable}
    pythons |= {t: getattr(options, t) for t in TOOLS[1:] if getattr(options, t)}
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), pythons)


def compare(folder: Path, pythons: dict[str, str]) -> None:
    import numpy as np
    from support.planted import PLANTED, Split, clean, write

    places: dict[tuple[str, ...], Path] = {}
    for name in SETS:
        for kind, plant in PLANTED.items():
            split = clean(name, 0)
            leak = plant(split, np.random.default_rng(2))
            if kind == "rows":  # a share that the limits of all are below
                some = split.train[: split.test.height // 4]
                copies = some.with_columns(id=some["id"] + "c")
                leak = Split(train=split.train, test=split.test.vstack(copies))
            places[kind, name] = write(leak, folder / f"{len(places)}")
        for seed in SEEDS:
            places["clean", name, f"{seed}"] = write(clean(name, seed), folder / f"{len(places)}")
    with ThreadPoolExecutor(len(pythons)) as pool:
        asked = {
            tool: pool.submit(ask, tool, python, list(places.values()))
            for tool, python in pythons.items()
        }
    found = {
        tool: dict(zip(places, answers.result(), strict=True)) for tool, answers in asked.items()
    }
    print("| planted | " + " | ".join(found) + " |\n|---|" + "---|" * len(found))
    for kind in PLANTED:
        hits = (
            sum(
                any(re.search(ABOUT[kind][TOOLS.index(tool)], one) for one in said[kind, name])
                for name in SETS
            )
            for tool, said in found.items()
        )
        print(f"| {kind} | " + " | ".join(f"{hit} of {len(SETS)}" for hit in hits) + " |")
    splits = [key for key in places if key[0] == "clean"]
    with_any = (sum(bool(said[key]) for key in splits) for said in found.values())
    print(
        "| alarms on clean splits | " + " | ".join(f"{n} of {len(splits)}" for n in with_any) + " |"
    )
    for tool, said in found.items():
        every = [one for key in splits for one in said[key]]
        for one in sorted(set(every)):
            print(f"\n{tool}, clean, {every.count(one)} times: {one}")


def ask(tool: str, python: str, folders: list[Path]) -> list[list[str]]:
    """What does not pass, in each folder."""
    if tool == "mllock":
        return [mllock(python, folder) for folder in folders]
    done = subprocess.run(
        [python, "-W", "ignore", __file__, "--ask", tool, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{tool} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def mllock(python: str, folder: Path) -> list[str]:
    """What warned or failed, declared or not."""
    done = subprocess.run(
        [python, "-m", "mllock", "gates", "--json", "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    return [
        f"{one['gate']}: {one['subject']}"
        for one in (*found["declared"], *found["not-declared"])
        if one["verdict"] in ("failed", "warned")
    ]


def _roles(folder: str) -> dict[str, str]:
    text = (Path(folder) / "mlproject.toml").read_text()
    return dict(re.findall(r'^(label|time|key|group) = \[?"(\w+)"\]?$', text, re.MULTILINE))


def _frames(folder: str) -> list[Any]:
    import pandas as pd

    return [pd.read_csv(Path(folder) / "data" / f"{name}.csv") for name in ("train", "test")]


def deepchecks(folder: str) -> list[str]:
    """Both suites that need no model, as they are."""
    warnings.simplefilter("ignore")
    from deepchecks.core import ConditionCategory
    from deepchecks.tabular import Dataset
    from deepchecks.tabular.suites import data_integrity, train_test_validation

    roles = _roles(folder)
    options: dict[str, Any] = {"label": roles["label"], "index_name": roles["key"]}
    if "time" in roles:
        options |= {"datetime_name": roles["time"]}
    frames = _frames(folder)
    named = set(roles.values())
    # What it infers of each side alone it refuses to compare.
    options["cat_features"] = [
        name
        for name, kind in frames[0].dtypes.items()
        if str(kind) == "object" and name not in named
    ]
    sides = [Dataset(frame, **options) for frame in frames]
    results = [
        *train_test_validation().run(*sides).results,
        *data_integrity().run(*sides).results,
    ]
    return [
        f"{result.check.name()}: {condition.name}"
        for result in results
        if hasattr(result, "conditions_results")
        for condition in result.conditions_results
        if condition.category in (ConditionCategory.FAIL, ConditionCategory.WARN)
    ]


def evidently(folder: str) -> list[str]:
    """The preset about drift, with the tests that it comes with. The one that sums data up
    compares counts and means with those of the other side, and no clean split passes it."""
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    train, test = _frames(folder)
    without = [name for key, name in _roles(folder).items() if key in ("key", "time", "group")]
    train, test = train.drop(columns=without), test.drop(columns=without)
    sides = [
        Dataset.from_pandas(frame, data_definition=DataDefinition()) for frame in (test, train)
    ]
    report = Report([DataDriftPreset()], include_tests=True)
    try:
        found = report.run(*sides).dict()["tests"]
    except ValueError as error:  # of an empty column it says that it is one
        return [str(error)]
    return [one["name"] for one in found if str(one["status"]).endswith(("FAIL", "ERROR"))]


if __name__ == "__main__":
    main()
