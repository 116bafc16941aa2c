"""Choosing versions so that as little as possible changes, the same with either chooser.

The pins in the pins file bind at first. Where they cannot all stay, those that the chooser names as
being in the way make room, no others (ADR 0016), and each is tried again once the rest is known. A
package that is to be upgraded gets the version that it would have if nothing were pinned, and pins
make room for that (ADR 0080). Not for what has no pins: that is one question to the chooser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.errors import ResolutionError
from mllock.lock.chooser import Chooser, Question
from mllock.lock.direct import without_files
from mllock.lock.offers import Offer
from mllock.lock.pip import Output

__all__ = ["PIN", "choose", "pins_in"]

PIN = re.compile(r"(?P<name>[a-z0-9]+(?:[-_.][a-z0-9]+)*)={2,3}(?P<version>[A-Za-z0-9.!+_-]+)")
# So often do some pins make room; then all of them do.
MAX_ATTEMPTS = 8
# More pins than this are not tried again one by one.
MAX_TRIED_AGAIN = 8


def choose(
    chooser: Chooser,
    folder: Path,
    question: Question,
    upgrade: frozenset[str],
    reporter: Reporter,
) -> Output:
    """`chooser.choose`, such that pins stay; those of `upgrade` are to move, and have none."""
    asked = _Remembering(chooser)
    done = _choose(asked, folder, question, upgrade, reporter)
    return replace(done, offers=asked.offers)


class _Remembering:
    """A chooser whose offers are kept: the best answer need not be the last one, and what an index
    has of a version is the same in each."""

    def __init__(self, chooser: Chooser) -> None:
        self.name = chooser.name
        self.version, self.check = chooser.version, chooser.check
        self.in_the_way, self.explain = chooser.in_the_way, chooser.explain
        self.offers: dict[tuple[str, str], tuple[Offer, ...]] = {}
        self._choose = chooser.choose

    def choose(self, folder: Path, question: Question) -> Output:
        done = self._choose(folder, question)
        self.offers |= done.offers
        return done


def _choose(
    chooser: Chooser,
    folder: Path,
    question: Question,
    upgrade: frozenset[str],
    reporter: Reporter,
) -> Output:
    pins = pins_in((folder / question.pins).read_text())
    bound = folder / question.constraints
    constraints = bound.read_text()
    if upgrade and pins:
        free = _ask(chooser, folder, question, {})
        if free.code != 0:
            return free
        newest = pins_in((folder / question.pins).read_text())
        lines = (f"{name}=={newest[name]}\n" for name in sorted(upgrade & newest.keys()))
        bound.write_text(constraints + "".join(lines))
    try:
        return _with_pins(chooser, folder, question, pins, reporter)
    finally:
        bound.write_text(constraints)


def _with_pins(
    chooser: Chooser,
    folder: Path,
    question: Question,
    pins: Mapping[str, str],
    reporter: Reporter,
) -> Output:
    question = replace(question, wishes=pins)
    kept = dict(pins)
    done = _ask(chooser, folder, question, kept)
    attempts = 0
    while done.code != 0 and kept and (blamed := chooser.in_the_way(done.text)):
        attempts += 1
        if attempts > MAX_ATTEMPTS or not blamed & kept.keys():
            kept = {}
        kept = {name: version for name, version in kept.items() if name not in blamed}
        done = _ask(chooser, folder, question, kept)
    if done.code == 0 and len(kept) < len(pins):
        _try_again(chooser, folder, question, pins, pins.keys() - kept.keys())
        moved = _moved(pins, pins_in((folder / question.pins).read_text()))
        reporter.detail(f"pins that made room: {', '.join(sorted(moved)) or 'none'}")
    return done


def _try_again(
    chooser: Chooser,
    folder: Path,
    question: Question,
    pins: Mapping[str, str],
    loosened: frozenset[str] | set[str],
) -> None:
    """Some of the pins that were blamed may have been innocent."""
    file = folder / question.pins
    best = file.read_text()
    if len(loosened) <= MAX_TRIED_AGAIN:
        for name in sorted(loosened):
            chosen = pins_in(best)
            moved = _moved(pins, chosen)
            if name in moved:
                again = _ask(chooser, folder, question, {**chosen, name: pins[name]})
                if again.code == 0 and _moved(pins, pins_in(file.read_text())) < moved:
                    best = file.read_text()
    file.write_text(best)


def _ask(chooser: Chooser, folder: Path, question: Question, pins: Mapping[str, str]) -> Output:
    lines = (f"{name}=={version}\n" for name, version in sorted(pins.items()))
    (folder / question.pins).write_text("".join(lines))
    # What binds is no wish besides: with several indexes, uv finds a version that is wished for in
    # the first index that has it, and refuses it if that one has no wheel for the target.
    wishes = {name: version for name, version in question.wishes.items() if name not in pins}
    done = chooser.choose(folder, replace(question, wishes=wishes))
    if done.code == 0:  # what was asked for by its file has no version to choose
        file = folder / question.pins
        file.write_text(without_files(question.asked, file.read_text()))
    return done


def _moved(pins: Mapping[str, str], chosen: Mapping[str, str]) -> set[str]:
    return {name for name, version in chosen.items() if pins.get(name, version) != version}


def pins_in(text: str) -> dict[str, str]:
    """Name -> version of what a chooser wrote. It keeps markers of the requirements."""
    pins = {}
    for line in text.splitlines():
        plain = line.partition("#")[0].partition(";")[0].strip()
        if plain:
            match = PIN.fullmatch(plain)
            if match is None:
                raise ResolutionError(
                    "a dependency that has no version: only wheels from an index can be locked",
                    found=plain,
                    hint="ask for a version of the package that needs it without a URL",
                )
            pins[match["name"]] = match["version"]
    return pins
