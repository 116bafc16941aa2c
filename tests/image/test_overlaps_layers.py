"""Layers of wheels that overlap: what a rule leaves out is in their keys, and has no bytecode."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.training import lock_of, put_wheels
from support.world import SPEC, World

from mllock.core.canonical import digest_of
from mllock.core.digest import from_hex
from mllock.errors import LockError, MllockError, SpecError
from mllock.image.build import Packages, build_environment
from mllock.image.bytecode import wheel_unit
from mllock.image.bytecode_layers import _Maker
from mllock.image.layers import remember
from mllock.image.python import python_groups
from mllock.image.types import Layer
from mllock.image.wheel import Prefix
from mllock.lock.overlaps import is_narrowed, overlaps_of
from mllock.lock.types import LayerGroup, Lock
from mllock.spec.reader import load_spec
from mllock.workflows.environment import environment_of

SITE = "opt/venv/lib/python3.11/site-packages"
TESTS = {
    "one": {"one.py": b"1", "tests/__init__.py": b"", "tests/a.py": b"1", "tests/only.py": b"1"},
    "two": {"two.py": b"2", "tests/__init__.py": b"", "tests/a.py": b"2"},
}


class Locked:
    """A lock over `TESTS`, one layer for each package, in the cache of a world."""

    def __init__(self, world: World, wheels: Mapping[str, dict[str, bytes]] = TESTS) -> None:
        self.world = world
        self.ctx = world.context()
        self.packages = put_wheels(self.ctx.cache, {(k, "1.0"): v for k, v in wheels.items()})
        self.fetched = 0

    def lock(self, overlaps: str) -> Lock:
        spec = self.world.project / "mlproject.toml"
        spec.write_text(SPEC.replace('["tiny-lib"]\n', f'["tiny-lib"]\noverlaps = {overlaps}\n'))
        return lock_of(self.world.project, self.packages)

    @property
    def ports(self) -> Packages:
        def wheels(_: object) -> dict[str, Path]:
            self.fetched += 1
            return {
                wheel.name: self.ctx.cache.blob_path(from_hex(wheel.hashes["sha256"]))
                for package in self.packages
                for wheel in package.wheels
            }

        return Packages(wheels=wheels, debs=lambda _: {})

    def layers(self, overlaps: str) -> tuple[Layer, ...]:
        lock = self.lock(overlaps)
        return build_environment(lock, self.ports, self.ctx.cache, self.ctx.reporter)

    def members(self, layer: Layer) -> set[str]:
        with tarfile.open(self.ctx.cache.blob_path(layer.digest)) as archive:
            return {name.removeprefix(f"{SITE}/") for name in archive.getnames()}


def test_layers(world: World) -> None:
    """What a rule leaves out is part of a layer's key; the winner's layer does not move."""
    made = Locked(world)
    _, one, two = made.layers('[{ path = "tests/**", keep = "one" }]')
    assert "tests/a.py" in made.members(one)
    assert "tests/a.py" not in made.members(two)
    fetched = made.fetched
    assert made.layers('[{ path = "tests/**", keep = "one" }]')[1:] == (one, two)
    assert made.fetched == fetched
    # The same choice in other words: the same layers. Another choice: both move.
    assert made.layers('[{ path = "**/a.py", keep = "One" }]')[1:] == (one, two)
    _, other_one, other_two = made.layers('[{ path = "tests/**", keep = "two" }]')
    assert "tests/a.py" in made.members(other_two)
    assert len({layer.diff_id for layer in (one, two, other_one, other_two)}) == 4
    # Kept layers are no way around the question.
    for overlaps in ("[]", '[{ path = "x", keep = "one" }]'):
        for _ in range(2):
            with pytest.raises(MllockError):
                made.layers(overlaps)


def test_a_note_that_is_none_of_ours_is_made_again(world: World) -> None:
    made = Locked(world)
    layers = made.layers('[{ path = "tests/**", keep = "one" }]')
    fetched = made.fetched
    for entry in made.ctx.cache.folder("layers").iterdir():
        text = entry.read_text()
        if '"no conflicts"' in text:
            entry.write_text(text.replace('["opt/venv', '"').replace('a.py"]', '"'))
    assert made.layers('[{ path = "tests/**", keep = "one" }]') == layers
    assert made.fetched > fetched


def test_a_rule_for_the_wheels_of_another_platform(world: World) -> None:
    """A lock for several platforms, of which this one has no dispute."""
    made = Locked(world)
    lock = made.lock('[{ path = "tests/**", keep = "one" }, { path = "arm/**", keep = "one" }]')
    ports = made.ports
    with pytest.raises(SpecError):
        build_environment(lock, ports, made.ctx.cache, made.ctx.reporter)
    several = {**lock.inputs.environment, "platforms": ["linux/amd64", "linux/arm64"]}
    own = {"environment": several, "data": lock.inputs.data, "builder": lock.inputs.builder}
    inputs = msgspec.structs.replace(lock.inputs, digest=digest_of(own))
    narrow = msgspec.structs.replace(lock, inputs=inputs)
    assert not is_narrowed(lock)
    assert is_narrowed(narrow)
    layers = build_environment(narrow, ports, made.ctx.cache, made.ctx.reporter)
    assert layers == made.layers('[{ path = "tests/**", keep = "one" }]')


def test_the_error_knows_the_line_of_the_rule(world: World) -> None:
    made = Locked(world)
    lock = made.lock('[{ path = "docs/**", keep = "one" }, { path = "tests/**", keep = "two" }]')
    with pytest.raises(SpecError) as caught:
        environment_of(made.ctx, load_spec(world.project / "mlproject.toml"), lock)
    assert str(caught.value) == (
        "mlproject.toml:8: environment.overlaps: one has no file that another package installs "
        'with different bytes and that this pattern matches\nfound: { path = "docs/**", keep = '
        '"one" }\nhint: leave it out, or correct it'
    )


def test_rules_of_a_lock_that_somebody_wrote(world: World) -> None:
    lock = Locked(world).lock("[]")
    for value, message in (
        ("x", "cannot be read: Expected `array`, got `str`"),
        ([{"path": "x"}], "cannot be read: Object missing required field `keep` - at `$[0]`"),
        ([{"path": "[", "keep": "x"}], 'cannot be read: "[" without "]" in pattern \'[\''),
    ):
        inputs = msgspec.structs.replace(lock.inputs, environment={"overlaps": value})
        with pytest.raises(LockError) as caught:
            overlaps_of(msgspec.structs.replace(lock, inputs=inputs))
        assert str(caught.value) == (
            f'mlproject.lock: inputs.environment.overlaps: {message}\nhint: run "mllock lock"'
        )


def test_groups_know_their_own_only(world: World) -> None:
    lock = Locked(world).lock("[]")
    lock = msgspec.structs.replace(
        lock,
        layers=msgspec.structs.replace(lock.layers, python=(LayerGroup(packages=("one", "two")),)),
    )
    (group,) = python_groups(lock)
    left_out = {"two": ("a",), "three": ("b",)}
    assert group.without(left_out).left_out == {"two": ("a",)}
    assert group.without({}) == replace(group, left_out={})
    assert group.key == group.without({"three": ("b",)}).key
    assert group.key != group.without(left_out).key


def test_bytecode_is_made_of_what_stays(world: World) -> None:
    """Else the loser's, if its layer is above, would be what an import of the winner's runs."""
    made = Locked(world)
    lock = made.lock('[{ path = "tests/**", keep = "one" }]')
    left_out = {"two": (f"{SITE}/tests/a.py",)}
    paths = {}
    for package in made.packages:
        wheel = package.wheels[0]
        path = made.ctx.cache.blob_path(from_hex(wheel.hashes["sha256"]))
        unit = wheel_unit(path, wheel.name, Prefix(), left_out.get(package.name, ()))
        paths[package.name] = {source.path for source in unit.sources()}
    assert f"/{SITE}/tests/a.py" in paths["one"] - paths["two"]
    assert f"/{SITE}/tests/__init__.py" in paths["one"] & paths["two"]
    known = {"layers": [], "interpreter": lock.base.interpreter, "python": lock.base.python}
    remember(made.ctx.cache, "interpreter", known, {"identity": "one that is known"})
    keys = []
    for gone in ({}, left_out):
        groups = [group.without(gone) for group in python_groups(lock)]
        maker = _Maker(lock, groups, lambda _: {}, [], made.ctx.cache, tuple)
        keys.append([(group.key, group.parts) for group in maker.groups()])
    (library, one, two), (same_library, same_one, other_two) = keys
    assert (library, one) == (same_library, same_one)
    assert two[0] != other_two[0]
    assert [part.key for part in two[1]] != [part.key for part in other_two[1]]
    assert [part.left_out for part in other_two[1]] == [(f"{SITE}/tests/a.py",)]
