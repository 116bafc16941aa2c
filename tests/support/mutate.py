"""Small damages, made from a seed: flip, drop, swap, duplicate, in bytes and in JSON."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

BYTES = ("flip", "drop", "swap", "duplicate")


def mutate_bytes(data: bytes, how: str, dice: random.Random) -> bytes:
    """`data` with one damage; it is another value, or the bytes had no other."""
    at = dice.randrange(len(data))
    match how:
        case "flip":
            return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
        case "drop":
            return data[:at] + data[at + dice.choice([1, 4, 64]) :]
        case "swap":
            to = dice.randrange(len(data))
            one, two = sorted((at, to))
            middle = data[one + 1 : two]
            return data[:one] + data[two : two + 1] + middle + data[one : one + 1] + data[two + 1 :]
    length = dice.choice([1, 16, 512])
    return data[: at + length] + data[at : at + length] + data[at + length :]


def mutate_json(value: Any, how: str, dice: random.Random) -> Any:
    """`value` with one damage at some place; it is another value."""
    value = copy.deepcopy(value)
    places = [place for place in _places(value) if _can(place[1], how)]
    while places:
        holder, found, put = places.pop(dice.randrange(len(places)))
        changed = _change(found, how, dice)
        if changed != found:
            if holder is None:
                return changed
            put(changed)
            return value
    return {"damaged": value}


Put = Callable[[Any], None]


def _places(value: Any) -> list[tuple[Any, Any, Put]]:
    found: list[tuple[Any, Any, Put]] = [(None, value, lambda _: None)]

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, item in list(items):
            found.append((node, item, lambda new, node=node, key=key: node.__setitem__(key, new)))
            if isinstance(item, dict | list):
                walk(item)

    walk(value)
    return found


def _can(value: Any, how: str) -> bool:
    return how == "flip" if not isinstance(value, dict | list) else how != "flip" and bool(value)


def _change(value: Any, how: str, dice: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + dice.choice([-1, 1])
        case str():
            return mutate_text(value, dice)
        case None:
            return 0
        case list():
            return _change_list(value, how, dice)
    keys = sorted(value)
    one, two = dice.choice(keys), dice.choice(keys)
    match how:
        case "drop":
            return {key: item for key, item in value.items() if key != one}
        case "swap":
            return value | {one: value[two], two: value[one]}
    return value | {f"{one}2": value[one]}


def _change_list(value: list[Any], how: str, dice: random.Random) -> list[Any]:
    one, two = dice.randrange(len(value)), dice.randrange(len(value))
    out = list(value)
    match how:
        case "drop":
            del out[one]
        case "swap":
            out[one], out[two] = out[two], out[one]
        case _:
            out.insert(one, copy.deepcopy(out[one]))
    return out


def mutate_text(text: str, dice: random.Random) -> str:
    if not text:
        return "x"
    at = dice.randrange(len(text))
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
