"""A project of other tools, from its files to a lock that trains: the real index and archive."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.e2e import must

from mllock.lock.format import read_lock

pytestmark = pytest.mark.e2e

FILES = {
    "requirements.in": "python-dateutil\n",
    "requirements.txt": "python-dateutil==2.8.2\n    # via -r requirements.in\nsix==1.16.0\n",
    "dvc.yaml": """\
stages:
  train:
    cmd: python train.py ${alpha}
    deps:
      - train.py
      - data.csv
    outs:
      - model.txt
    metrics:
      - metrics.json
""",
    "params.yaml": "alpha: 0.5\n",
    "Dockerfile": """\
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1
ENV OMP_NUM_THREADS=1
""",
    "data.csv": "a,b\n1,2\n",
    "train.py": """\
import json, sys
import dateutil, six
open("model.txt", "w").write(sys.argv[1] + open("data.csv").read())
json.dump({"alpha": float(sys.argv[1])}, open("metrics.json", "w"))
""",
}


def test_from_other_tools_to_a_trained_model(tmp_path: Path, e2e_environ: dict[str, str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    done = must(tmp_path, "init", "--from", ".", environ=e2e_environ)
    assert done.stdout == ""
    must(tmp_path, "lock", environ=e2e_environ)
    lock = read_lock(tmp_path / "mlproject.lock")
    versions = {package.name: package.version for package in lock.python.packages}
    assert versions == {"python-dateutil": "2.8.2", "six": "1.16.0"}
    assert "libgomp1" in {package.name for package in lock.system}
    must(tmp_path, "lock", "--check", environ=e2e_environ)
    must(tmp_path, "train", "--runtime", "host", environ=e2e_environ)
