"""Tests of this project. Run them where its packages are installed: python -m pytest"""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import pandas as pd
import pytest
from fastapi import HTTPException

PROJECT = Path(__file__).parents[1]
WRITTEN = ["model/model.joblib", "model/features.json", "metrics.json"]


def train_in(folder: Path, **variables: str) -> Path:
    shutil.copytree(
        PROJECT, folder, ignore=shutil.ignore_patterns("model", "metrics.json", ".*", "__pycache__")
    )
    environ = {name: value for name, value in os.environ.items() if name != "MLLOCK_PARAMS"}
    subprocess.run([sys.executable, "train.py"], cwd=folder, env=environ | variables, check=True)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    return train_in(tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="session")
def serve(trained):
    sys.path.insert(0, str(trained))
    yield importlib.import_module("serve")
    sys.path.remove(str(trained))


def test_training_again_gives_the_same_bytes(trained, tmp_path):
    again = train_in(tmp_path / "again", PYTHONHASHSEED="7", OMP_NUM_THREADS="2")
    for name in WRITTEN:
        assert (trained / name).read_bytes() == (again / name).read_bytes(), name


def test_params_come_from_the_file_that_mllock_names(trained, tmp_path):
    params = tmp_path / "params.json"
    params.write_text(json.dumps({"alpha": 0.5, "depth": 2, "rounds": 5, "seed": 42}))
    other = train_in(tmp_path / "other", MLLOCK_PARAMS=str(params))
    assert joblib.load(other / WRITTEN[0]).max_iter == 5
    assert (trained / WRITTEN[0]).read_bytes() != (other / WRITTEN[0]).read_bytes()


def test_the_model_is_better_than_always_saying_the_mean(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    train, test = (pd.read_csv(trained / f"data/{name}.csv") for name in ("train", "test"))
    naive = (test["quality"] - train["quality"].mean()).abs().mean()
    assert metrics["mean_absolute_error"] < 0.9 * naive
    assert metrics["rows"] == len(test)


def test_no_row_is_in_both_files():
    train, test = (pd.read_csv(PROJECT / f"data/{name}.csv") for name in ("train", "test"))
    assert train.merge(test).empty


def test_serving_answers_as_the_model_does(serve, trained):
    wines = pd.read_csv(trained / "data/test.csv").drop(columns="quality").head(3)
    answer = serve.predict(serve.Question(wines=wines.to_dict("records")))
    assert answer.quality == serve.model.predict(wines).tolist()
    assert serve.healthz() == {"status": "ok"}


def test_probes_are_answered_as_they_say(serve):
    for line in (PROJECT / "probes.jsonl").read_text().splitlines():
        probe = json.loads(line)
        question = serve.Question(**probe["body"])
        if "status" in probe:
            with pytest.raises(HTTPException) as caught:
                serve.predict(question)
            assert caught.value.status_code == probe["status"]
        else:
            assert len(serve.predict(question).quality) == len(question.wines)


def test_serving_names_what_is_missing(serve):
    with pytest.raises(HTTPException) as caught:
        serve.predict(serve.Question(wines=[{"alcohol": 11.0}]))
    assert caught.value.status_code == 422
    assert "'density'" in caught.value.detail
