"""A project with a src/ folder: its own packages are code, found by a relative PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

from support.training import PROGRAM, SPEC, locked, no_layers

from mllock.workflows.train import train


def test_packages_in_src_are_code(tmp_path: Path) -> None:
    spec = SPEC.replace('OMP_NUM_THREADS = "1"', 'PYTHONPATH = "src:lib/more"')
    program = f"import wine.rows, helper\nassert helper.HELP + wine.rows.N == 3\n{PROGRAM}"
    files = {
        "src/wine/__init__.py": "",
        "src/wine/rows.py": "N = 2\n",
        "lib/more/helper.py": "HELP = 1\n",
        "pyproject.toml": "[project]\nname = 'wine'\ndependencies = ['tiny-lib']\n",
    }
    spec = spec.replace('dependencies = ["tiny-lib"]', 'requirements = ["pyproject.toml"]')
    ctx = locked(tmp_path, program=program, spec=spec, files=files)
    result = train(ctx, environment_of=no_layers)
    assert (result.run.path / "model" / "weights.txt").read_text() == "3 0.5 1.0\n"
    assert "src/wine/rows.py" in (result.run.path / "code.manifest").read_text()
