"""The claim `model`: the target's bytes are the record's subjects, nothing missing or extra. Pure.

What decides is the digest of the manifest made from the bytes that were found. The text of the
expected manifest, if one with the right digest was found, only says better what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mllock.check.claims_image import APP, unreadable
from mllock.check.compare import compare_files, compare_trees, manifest_of, tree_below
from mllock.check.evidence import Evidence, FoundTree, ImageFacts
from mllock.check.findings import proven, refuted
from mllock.check.types import Difference, Finding
from mllock.core.tree import SINGLE, Entry
from mllock.image.read import Member
from mllock.train.record import MANIFEST_NAME, Record, model_subjects

__all__ = ["model", "model_in"]


def model(evidence: Evidence, record: Record) -> Finding:
    """The target's bytes are the record's subjects: nothing missing, nothing extra."""
    target = evidence.target
    if isinstance(target, FoundTree):
        tree = _unwrapped(evidence, record, target)
        single = SINGLE in tree.entries or SINGLE in tree.odd
        name = record.model_path.rpartition("/")[2] if single else ""
        found = _compare(evidence, record, tree, name)
        if found.verdict == "proven" and tree.name not in (None, name):
            reason = (
                f'{found.reason}; that it is called "{tree.name}", there "{name}", is no part of it'
            )
            return replace(found, reason=reason)
        return found
    assert isinstance(target, ImageFacts)
    stopped = unreadable("model", evidence, target, ("model",))
    if stopped is not None:
        return stopped
    return model_in(evidence, record, target.merged)


def model_in(evidence: Evidence, record: Record, merged: Mapping[str, Member]) -> Finding:
    """The same, of the files of an image or container."""
    place = f"{APP}/{record.model_path}"
    return _compare(evidence, record, tree_below(merged, place), f"/{place}")


def _unwrapped(evidence: Evidence, record: Record, found: FoundTree) -> FoundTree:
    """A folder that holds only the file that is the whole model stands for that file."""
    name = record.model_path.rpartition("/")[2]
    manifest = evidence.manifest
    if manifest is None or not manifest.is_single_file or found.odd:
        return found
    if list(found.entries) != [name] or found.entries[name].digest is None:
        return found
    file = found.entries[name]
    alone = Entry(kind=file.kind, path=SINGLE, size=file.size, digest=file.digest)
    return replace(found, entries={SINGLE: alone})


def _compare(evidence: Evidence, record: Record, found: FoundTree, prefix: str) -> Finding:
    differences = _differences(evidence, record, found, prefix)
    if differences:
        return refuted(
            "model",
            f"not the model of run {record.run_id}",
            differences,
            source="bytes of the target",
        )
    files = sum(1 for entry in found.entries.values() if entry.digest is not None)
    return proven(
        "model",
        f"{files} of {len(record.model_files)} files, {found.size} bytes, are those of run "
        f"{record.run_id}",
        source="bytes of the target",
    )


def _differences(
    evidence: Evidence, record: Record, found: FoundTree, prefix: str
) -> Sequence[Difference]:
    there = manifest_of(found)
    if there is not None and there.digest == record.model:
        if model_subjects(there, record.model_path) == {
            MANIFEST_NAME: record.model,
            **record.model_files,
        }:
            return ()
        return [
            Difference(
                path=evidence.record.name,
                expected="the files of the manifest as subjects",
                found="other subjects",
            )
        ]
    if evidence.manifest is not None and evidence.manifest.digest == record.model:
        differences = compare_trees(evidence.manifest, found, prefix)
    else:
        files = {k.removeprefix("model/"): v for k, v in record.model_files.items()}
        differences = compare_files(files, found, prefix)
    return differences or [
        Difference(
            path=prefix or MANIFEST_NAME,
            expected=record.model,
            found="a tree that no manifest can hold" if there is None else there.digest,
        )
    ]
