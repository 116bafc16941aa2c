"""Changes to a text of TOML as a slip of the hand, a bad merge or an attacker would make them.

`mutated(text, seed)` is the same for the same seed, everywhere. About half of the results are still
TOML, and of these most have other values, types or orders than any writer would give them.
"""

from __future__ import annotations

import random

from support.fuzz import CHANGES, changed

__all__ = ["VALUES", "mutated"]

VALUES = (
    *(
        "0",
        "1",
        "-1",
        "1.5",
        "nan",
        "true",
        "[]",
        "{}",
        "[[]]",
        "{ a = 1 }",
        "2026-01-01",
        "9" * 30,
    ),
    *('""', '"x"', '"../x"', '"/"', '"x\\u0000"', '"é"', '"🙂"', '["x"]', '["x", "x"]', "'''\n'''"),
    *('"linux/arm64"', '"linux/amd64"', '"3.11"', '"2.0"', '"1.0.dev1+a.b"', '"not a version"'),
    *(
        '"a==1; python_version<"',
        '"a @ http://x"',
        '"sha256:' + "0" * 64 + '"',
        '"' + "x" * 9999 + '"',
    ),
    *('"debian:sid"', '"[](){}*?"', '"**"', '"https://u:p@example.org"', '"platform_machine == 1"'),
)


def mutated(text: str, seed: int) -> bytes:
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        text = chance.choice((_line, _value, _value, _value, _swapped))(text, chance)
    data = text.encode()
    if chance.random() < 0.3:
        places = [chance.randrange(1 << 30) for _ in range(4)]
        data = changed(data, chance.choice(CHANGES), *places)
    return data


def _line(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.choice(("remove", "repeat", "move")):
        case "remove":
            del lines[at]
        case "repeat":
            lines.insert(other, lines[at])
        case _:
            lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines)


def _places(lines: list[str]) -> list[int]:
    """Lines that hold one value: "key = value", or an item of an array."""
    return [n for n, line in enumerate(lines) if " = " in line or line.startswith('  "')]


def _value(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    places = _places(lines)
    if places:
        at = chance.choice(places)
        key, equals, old = lines[at].partition(" = ")
        if chance.random() < 0.3 and equals and old[:1] == '"' and len(old) > 2:
            cut = chance.randrange(1, len(old) - 1)
            new = (
                old[:cut] + chance.choice(("", "x", " ", "/", "-", ".", "=", ",")) + old[cut + 1 :]
            )
        else:
            new = chance.choice(VALUES)
        lines[at] = f"{key} = {new}" if equals else f"  {new},"
    return "\n".join(lines)


def _swapped(text: str, chance: random.Random) -> str:
    """Two lines of the same key trade their values: still of the right type."""
    lines = text.split("\n")
    by_key: dict[str, list[int]] = {}
    for at in _places(lines):
        by_key.setdefault(lines[at].partition(" = ")[0], []).append(at)
    several = [places for places in by_key.values() if len(places) > 1]
    if several:
        one, two = chance.sample(chance.choice(several), 2)
        lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)
