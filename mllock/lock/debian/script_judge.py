"""Following a maintainer script through a first installation, without running it.

Three-valued: a condition is true, false, or depends on the machine, and then both sides are looked
at. A value is known or None. Whatever is reached and is not known raises UnknownShellError; errors
are on the side of refusing a script. Pure.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from debian.debian_support import Version

from mllock.lock.debian.script_accounts import Account, accounts
from mllock.lock.debian.script_table import HARMLESS
from mllock.lock.debian.shell import (
    Case,
    Chain,
    Command,
    Function,
    If,
    Loop,
    Node,
    parse_script,
)
from mllock.lock.debian.shell_words import UnknownShellError, Word, substitutions

__all__ = ["Alternative", "judge"]

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_DEPTH = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """`update-alternatives --install LINK NAME PATH PRIORITY`; slaves are (name, link, path)."""

    name: str
    link: str
    path: str
    priority: int
    slaves: tuple[tuple[str, str, str], ...] = ()


class _ExitError(Exception):
    """The script ends here."""


class _ReturnError(Exception):
    """The function ends here."""


def judge(text: str, action: str, accepted: Sequence[str] = ()) -> list[Alternative | Account]:
    """Follow a script. Raises UnknownShellError at the first command that is not known."""
    state = _State(arguments=(action, ""), accepted=frozenset(accepted))
    with contextlib.suppress(_ExitError, _ReturnError):
        state.run(parse_script(text))
    return state.found


@dataclass
class _State:
    arguments: tuple[str | None, ...]
    accepted: frozenset[str]
    variables: dict[str, str | None] = field(default_factory=dict)
    functions: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    found: list[Alternative | Account] = field(default_factory=list)
    maybe: int = 0
    depth: int = 0

    def run(self, nodes: Sequence[Node]) -> bool | None:
        """Follow `nodes`; the truth of the last one: None is "depends on the machine"."""
        truth: bool | None = True
        for node in nodes:
            truth = self._node(node)
        return truth

    def _node(self, node: Node) -> bool | None:
        match node:
            case Command():
                return self._command(node)
            case Chain():
                return self._chain(node)
            case If():
                return self._if(node)
            case Case():
                return self._case(node)
            case Loop():
                self._loop(node)
                return None
            case Function():
                self.functions[node.name] = node.body
                return True

    def _loop(self, node: Loop) -> None:
        values = [self._value(word) for word in node.words]
        named = [v for v in values if v is not None and re.fullmatch(r"[\w./+:-]+", v)]
        if node.variable and named and named == values and not _jumps(node.body):
            # Each round is known: nothing in the list is a pattern, and no round ends the loop.
            for value in named:
                self.variables[node.variable] = None if self.maybe else value
                self.run(node.body)
            return
        if node.variable:
            self.variables[node.variable] = None
        # Twice: what the first round sets is not known in the second.
        self._unsure(node.body)
        self._unsure(node.body)

    def _unsure(self, nodes: Sequence[Node]) -> None:
        """Follow what may or may not run."""
        self.maybe += 1
        try:
            self.run(nodes)
        except (_ExitError, _ReturnError):
            # Whether the script ends here is not known: what comes after it may run.
            self.maybe += 1
        finally:
            self.maybe -= 1

    def _chain(self, node: Chain) -> bool | None:
        first = self._node(node.first)
        if node.op == "!" or node.second is None:
            return None if first is None else not first
        if first is None:
            self._unsure((node.second,))
            return None
        if first == (node.op == "&&"):
            return self._node(node.second)
        return first

    def _if(self, node: If) -> bool | None:
        unsure = False
        for condition, body in node.branches:
            truth = True if condition is None else self.run(condition)
            if truth is None or (truth and unsure):
                self._unsure(body)
                unsure = True
            elif truth:
                return self.run(body)
            if truth:
                break
        return None if unsure else True

    def _case(self, node: Case) -> bool | None:
        value = self._value(node.word)
        for patterns, body in node.branches:
            literal = [pattern.strip("\"'") for pattern in patterns]
            if value is None or any("$" in text or "`" in text for text in literal):
                self._unsure(body)
                value = None
            elif any(fnmatchcase(value, text) for text in literal):
                return self.run(body)
        return None if value is None else True

    def _command(self, node: Command) -> bool | None:
        words = list(node.words)
        for word in words:
            for inner in substitutions(word.text):
                self._unsure(parse_script(inner))
        if words and words[0].text in ("export", "local", "readonly"):
            words = words[1:] if any("=" in word.text for word in words) else words
        while words and (match := _ASSIGNMENT.fullmatch(words[0].text)):
            name, text = match.groups()
            value = self._value(Word(text, node.line))
            self.variables[name] = None if self.maybe else value
            words.pop(0)
        for target in node.writes:
            if target.strip("\"'") not in ("/dev/null", "1", "2", "&1", "&2"):
                raise UnknownShellError(f"writes to {target}", node.line)
        if not words:
            return True
        name = words[0].text
        values = [self._value(word) for word in words[1:]]
        if name in ("[", "test"):
            return self._test(values, node.line)
        if name == "exit":
            raise _ExitError
        if name == "return":
            raise _ReturnError
        if name in self.functions:
            return self._call(name, values, node.line)
        if name == "update-alternatives":
            return self._alternatives(values, node.line)
        if name in ("adduser", "addgroup") and name not in self.accepted:
            made = accounts(name, values)
            if made is None:
                raise UnknownShellError(" ".join(word.text for word in words)[:200], node.line)
            # Also where it is not sure that this is reached: who asks, asks whether it is there.
            self.found += made
            return True
        if name == "dpkg" and values[:1] == ["--compare-versions"] and len(values) == 4:
            return _compare(values[1], values[2], values[3])
        if name in self.accepted or self._is_harmless(name, values):
            return {"true": True, ":": True, "set": True, "false": False}.get(name)
        raise UnknownShellError(" ".join(word.text for word in words)[:200], node.line)

    def _is_harmless(self, name: str, values: Sequence[str | None]) -> bool:
        if name == ".":
            return values == ["/usr/share/debconf/confmodule"]
        if name == "command":
            return values[:1] == ["-v"]
        if name == "dpkg":
            return values[:1] in (["-L"], ["-l"], ["-s"], ["-S"], ["--print-architecture"])
        return name in HARMLESS or name.startswith("db_")

    def _call(self, name: str, values: list[str | None], line: int) -> bool | None:
        if self.depth > _DEPTH:
            raise UnknownShellError(f"{name} calls itself", line)
        outer, self.arguments = self.arguments, tuple(values)
        self.depth += 1
        try:
            return self.run(self.functions[name])
        except _ReturnError:
            return None
        finally:
            self.arguments = outer
            self.depth -= 1

    def _value(self, word: Word) -> str | None:
        """The text of a word, or None if it depends on the machine."""
        if word.text in ("$(uname -s)", '"$(uname -s)"'):
            return "Linux"
        text, out, at = word.text, "", 0
        quote = ""
        while at < len(text):
            char = text[at]
            if char == "'" and quote != '"':
                end = text.index("'", at + 1)
                out += text[at + 1 : end]
                at = end + 1
            elif char == '"':
                quote = "" if quote else '"'
                at += 1
            elif char == "\\" and at + 1 < len(text):
                out += text[at + 1]
                at += 2
            elif char == "`":
                return None
            elif char == "$":
                match = re.compile(r"\$(?:\{(\w+)(?::-)?\}|(\w+))").match(text, at)
                value = self._variable(match.group(1) or match.group(2)) if match else None
                # Without quotes, the shell splits what the value has, and drops it if it is empty.
                if (
                    match is None
                    or value is None
                    or not (quote or re.fullmatch(r"[\w./+:~-]+", value))
                ):
                    return None
                out += value
                at = match.end()
            else:
                out += char
                at += 1
        return out

    def _variable(self, name: str) -> str | None:
        if name.isdigit():
            number = int(name)
            return self.arguments[number - 1] if 0 < number <= len(self.arguments) else ""
        if name in ("DPKG_ROOT", "DEBCONF_RECONFIGURE"):
            return ""
        return self.variables.get(name)

    def _test(self, values: list[str | None], line: int) -> bool | None:
        if values and values[-1] == "]":
            values = values[:-1]
        for op, decisive in (("-o", True), ("-a", False)):
            if op in values and len(values) > 3:
                at = values.index(op)
                left = self._test(values[:at], line)
                right = self._test(values[at + 1 :], line)
                if decisive in (left, right):
                    return decisive
                return None if None in (left, right) else not decisive
        if values[:1] == ["!"]:
            inner = self._test(values[1:], line)
            return None if inner is None else not inner
        match values:
            case [("-n" | "-z") as op, word]:
                return None if word is None else bool(word) == (op == "-n")
            case [one, ("=" | "==" | "!=") as op, other]:
                if one is None or other is None:
                    return None
                return (one == other) == (op != "!=")
            case [word]:
                return None if word is None else bool(word)
        return None

    def _alternatives(self, values: list[str | None], line: int) -> bool | None:
        words = [value for value in values if value not in ("--quiet", "--force", "--verbose")]
        if words[:1] in (["--remove"], ["--remove-all"], ["--auto"]):
            return None
        literal = [word for word in words if word is not None]
        if self.maybe or len(literal) != len(words) or literal[:1] != ["--install"]:
            raise UnknownShellError("update-alternatives that is not literal", line)
        head, rest = literal[1:5], literal[5:]
        slaves = []
        while rest[:1] == ["--slave"] and len(rest) >= 4:
            slaves.append((rest[2], rest[1], rest[3]))
            rest = rest[4:]
        if rest or len(head) != 4 or not re.fullmatch(r"-?[0-9]{1,9}", head[3]):
            raise UnknownShellError("update-alternatives that is not understood", line)
        if not all(path.startswith("/") for path in (head[0], head[2])):
            raise UnknownShellError("update-alternatives with a relative path", line)
        self.found.append(
            Alternative(
                link=head[0],
                name=head[1],
                path=head[2],
                priority=int(head[3]),
                slaves=tuple(slaves),
            )
        )
        return True


def _jumps(nodes: Sequence[Node]) -> bool:
    """Whether "break" or "continue" stands anywhere in `nodes`, whichever loop it is for."""
    inside: list[Node] = []
    for node in nodes:
        match node:
            case Command():
                if node.words and node.words[0].text in ("break", "continue"):
                    return True
            case Chain():
                inside += [node.first, *([node.second] if node.second else [])]
            case If():
                for condition, body in node.branches:
                    inside += [*(condition or ()), *body]
            case Case():
                for _, body in node.branches:
                    inside += body
            case Loop() | Function():
                inside += node.body
    return bool(inside) and _jumps(inside)


def _compare(left: str | None, op: str | None, right: str | None) -> bool | None:
    """`dpkg --compare-versions`: an empty version is older than any, with -nl newer."""
    if left is None or op is None or right is None:
        return None
    plain = {"<": "le", "<=": "le", "<<": "lt", "=": "eq", ">=": "ge", ">": "ge", ">>": "gt"}
    name = plain.get(op, op).removesuffix("-nl")
    if not left or not right:
        order = (bool(left) > bool(right)) - (bool(left) < bool(right))
        order = -order if op.endswith("-nl") else order
    else:
        ours, theirs = Version(left), Version(right)
        order = (ours > theirs) - (ours < theirs)
    answers: Mapping[str, bool] = {
        "lt": order < 0,
        "le": order <= 0,
        "eq": order == 0,
        "ne": order != 0,
        "ge": order >= 0,
        "gt": order > 0,
    }
    return answers.get(name)
