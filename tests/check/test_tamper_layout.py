"""What no digest covers: the marker, index.json, and what its entries say of the images."""

from __future__ import annotations

import json
import shutil

import pytest
from support.layers import compact
from support.tamper import REF, Layout
from support.world import RUN, finding, paths, verdicts

from mllock.errors import ArchiveError, InputError


def check(world, **options):
    return world.check(f"oci:{world.oci}", **options)


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("platform", {"os": "windows", "architecture": "arm64"}, "index.json: serve.platform"),
        ("artifactType", "text/plain", "index.json: serve.artifactType"),
    ],
)
def test_what_no_digest_covers_in_index_json(world, key, value, path):
    layout = Layout(world.oci)
    layout.entry[key] = value
    (world.oci / "index.json").write_bytes(compact(layout.index))
    report = check(world, run=RUN)
    assert paths(report, "configuration") == [path]
    assert report.exit_code() == 1


@pytest.mark.parametrize("how", ["swapped", "serve is train"])
def test_the_training_image_under_the_name_of_the_serving_one(world, how):
    """Whoever asks for the serving image gets an answer: no, it is not."""
    index = json.loads((world.oci / "index.json").read_text())
    named = {e["annotations"][REF]: e for e in index["manifests"] if "annotations" in e}
    if how == "swapped":
        named["train"]["annotations"], named["serve"]["annotations"] = (
            named["serve"]["annotations"],
            named["train"]["annotations"],
        )
    else:
        named["serve"]["digest"], named["serve"]["size"] = (
            named["train"]["digest"],
            named["train"]["size"],
        )
    (world.oci / "index.json").write_bytes(compact(index))
    report = check(world)
    assert report.exit_code() == 1
    assert verdicts(report)["model"] == verdicts(report)["configuration"] == "refuted"
    assert "image statement: kind" in paths(report, "configuration")


BROKEN = {
    "no marker": (lambda f: (f / "oci-layout").unlink(), "oci-layout", "missing"),
    "no index": (lambda f: (f / "index.json").unlink(), "index.json", "missing"),
    "an empty index": (
        lambda f: (f / "index.json").write_text(""),
        "index.json",
        "not strict JSON: it is empty",
    ),
    "an entry with urls": (
        lambda f: (f / "index.json").write_text(
            (f / "index.json").read_text().replace('"size"', '"urls":["https://x"],"size"', 1)
        ),
        "index.json: manifests[0]",
        "a foreign blob, to be fetched from elsewhere",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_layout_that_does_not_open_is_refuted(world, how):
    damage, path, found = BROKEN[how]
    damage(world.oci)
    report = check(world)
    (difference,) = finding(report, "configuration").differences
    assert (difference.path, difference.found) == (path, found)
    assert report.exit_code() == 1
    assert check(world, run=RUN).exit_code() == 1
    shutil.rmtree(world.run.parent)
    with pytest.raises(ArchiveError) as caught:
        check(world)  # there is nothing to hold it against
    assert caught.value.message == found


def test_a_folder_that_is_no_layout(world):
    with pytest.raises(InputError) as caught:
        world.check(f"oci:{world.run}")
    assert str(caught.value) == (
        f"{world.run}: not an OCI layout\nexpected: oci-layout, index.json and blobs\n"
        "hint: name a model folder with path:DIR"
    )
