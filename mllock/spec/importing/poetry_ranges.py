"""Poetry's version ranges in PEP 440's words: `^1.2` is `>=1.2,<2`, `~1.2` is `>=1.2,<1.3`."""

from __future__ import annotations

import re

__all__ = ["specifier"]

_RELEASE = r"v?(?P<release>[0-9]{1,9}(?:\.[0-9]{1,9}){0,5})(?P<rest>[A-Za-z0-9.+_-]*)"
_CARET = re.compile(rf"\^\s*{_RELEASE}")
_TILDE = re.compile(rf"~\s*{_RELEASE}")
_PLAIN = re.compile(r"v?[0-9][A-Za-z0-9.!+_-]*(?:\.\*)?")
_OPERATOR = re.compile(r"(===|==|~=|!=|<=|>=|<|>)\s*(\S+)")


def specifier(text: str) -> str | None:
    """The specifier ("" for any version), or None where PEP 440 has no words for it."""
    out = []
    text = " ".join(text.split())
    if "|" in text:
        return None
    joined = re.sub(r"(?<=[<>=~!^])\s+", "", text)
    for part in re.split(r"\s*,\s*|\s+", joined):
        one = _one(part)
        if one is None:
            return None
        if one:
            out.append(one)
    return ",".join(out)


def _one(part: str) -> str | None:
    if part in ("", "*"):
        return ""
    if (match := _CARET.fullmatch(part)) is not None:
        numbers = [int(number) for number in match["release"].split(".")]
        at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
        return _between(match, numbers, at)
    if (match := _TILDE.fullmatch(part)) is not None:
        numbers = [int(number) for number in match["release"].split(".")]
        return _between(match, numbers, min(1, len(numbers) - 1))
    if (match := _OPERATOR.fullmatch(part)) is not None:
        if match[2].endswith(".*") and match[1] not in ("==", "!="):
            return match[1] + match[2].removesuffix(".*")
        return match[1] + match[2]
    if part.startswith("=") and _PLAIN.fullmatch(part[1:]):
        return f"={part}"
    return f"=={part}" if _PLAIN.fullmatch(part) else None


def _between(match: re.Match[str], numbers: list[int], at: int) -> str:
    upper = [*numbers[:at], numbers[at] + 1]
    return f">={match['release']}{match['rest']},<{'.'.join(map(str, upper))}"
