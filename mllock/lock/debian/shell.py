"""A parser for the part of the shell language that maintainer scripts are mostly made of.

Lists, pipelines, `&&`, `||`, `!`, if, case, for, while, functions, subshells, redirections and
simple commands. It is for judging a script, never for running one: whatever it does not know
(here-documents, background jobs, redirected blocks) is refused with `UnknownShellError`, so that a
script is never taken for harmless because it was misread. Words keep their quotes.
"""

from __future__ import annotations

from dataclasses import dataclass

from mllock.lock.debian.shell_words import UnknownShellError, Word, tokens

__all__ = [
    "Case",
    "Chain",
    "Command",
    "Function",
    "If",
    "Loop",
    "Node",
    "parse_script",
]


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command; `writes` are the targets of its output redirections."""

    words: tuple[Word, ...]
    writes: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`first && second`, `first || second`, or `! first` (then `second` is None)."""

    op: str
    first: Node
    second: Node | None


@dataclass(frozen=True, slots=True)
class If:
    """Branches of (condition, body); the condition of `else` is None."""

    branches: tuple[tuple[tuple[Node, ...] | None, tuple[Node, ...]], ...]


@dataclass(frozen=True, slots=True)
class Case:
    word: Word
    branches: tuple[tuple[tuple[str, ...], tuple[Node, ...]], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What runs any number of times, or apart: for, while, until, a subshell, a pipeline.

    `variable` is what a for loop sets, in turn to each of `words`; the condition of while and until
    begins the body.
    """

    body: tuple[Node, ...]
    variable: str | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: tuple[Node, ...]


Node = Command | Chain | If | Case | Loop | Function

_RESERVED = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}", "in"})


def parse_script(text: str) -> tuple[Node, ...]:
    """The commands of a script. Raises UnknownShellError."""
    parser = _Parser(tokens(text))
    body = parser.list_until(())
    if parser.peek() is not None:
        raise parser.unexpected()
    return body


class _Parser:
    def __init__(self, tokens: list[Word]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self, ahead: int = 0) -> Word | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def unexpected(self) -> UnknownShellError:
        token = self.peek()
        if token is None:
            return UnknownShellError("unexpected end", self._tokens[-1].line if self._tokens else 0)
        return UnknownShellError(f"unexpected {token.text!r}", token.line)

    def next(self) -> Word:
        token = self.peek()
        if token is None:
            raise self.unexpected()
        self._at += 1
        return token

    def expect(self, text: str) -> Word:
        token = self.peek()
        if token is None or token.text != text:
            raise self.unexpected()
        return self.next()

    def at(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.text in texts

    def list_until(self, ends: tuple[str, ...]) -> tuple[Node, ...]:
        """Commands up to one of `ends`, which is left to be read."""
        found: list[Node] = []
        while True:
            while self.at(";", "\n"):
                self.next()
            token = self.peek()
            if token is None or self.at(*ends):
                return tuple(found)
            found.append(self._chain())
            if not (self.peek() is None or self.at(";", "\n", *ends)):
                raise self.unexpected()

    def _chain(self) -> Node:
        node = self._pipeline()
        while self.at("&&", "||"):
            op = self.next().text
            while self.at("\n"):
                self.next()
            node = Chain(op, node, self._pipeline())
        return node

    def _pipeline(self) -> Node:
        stages = [self._one()]
        while self.at("|"):
            self.next()
            while self.at("\n"):
                self.next()
            stages.append(self._one())
        return stages[0] if len(stages) == 1 else Loop(tuple(stages))

    def _one(self) -> Node:
        token = self.peek()
        if token is None or (token.op and token.text != "(") or token.text in _RESERVED:
            raise self.unexpected()
        following = self.peek(1)
        if token.text == "!":
            self.next()
            return Chain("!", self._one(), None)
        if token.text == "if":
            return self._if()
        if token.text == "case":
            return self._case()
        if token.text in ("for", "while", "until"):
            return self._loop()
        if token.text == "{":
            self.next()
            body = self.list_until(("}",))
            self.expect("}")
            return If(((None, body),))
        if token.op:
            self.next()
            body = self.list_until((")",))
            self.expect(")")
            return Loop(body)
        if following is not None and following.op and following.text == "(":
            return self._function()
        return self._command()

    def _if(self) -> If:
        branches: list[tuple[tuple[Node, ...] | None, tuple[Node, ...]]] = []
        self.expect("if")
        while True:
            condition = self.list_until(("then",))
            self.expect("then")
            branches.append((condition, self.list_until(("elif", "else", "fi"))))
            if not self.at("elif"):
                break
            self.next()
        if self.at("else"):
            self.next()
            branches.append((None, self.list_until(("fi",))))
        self.expect("fi")
        self._redirected()
        return If(tuple(branches))

    def _case(self) -> Case:
        self.expect("case")
        word = self.next()
        while self.at("\n"):
            self.next()
        self.expect("in")
        branches: list[tuple[tuple[str, ...], tuple[Node, ...]]] = []
        while True:
            while self.at("\n", ";"):
                self.next()
            if self.at("esac"):
                self.next()
                return Case(word, tuple(branches))
            if self.at("("):
                self.next()
            patterns = [self.next().text]
            while self.at("|"):
                self.next()
                patterns.append(self.next().text)
            self.expect(")")
            body = self.list_until((";;", "esac"))
            if self.at(";;"):
                self.next()
            branches.append((tuple(patterns), body))

    def _loop(self) -> Loop:
        kind = self.next().text
        variable = None
        words: list[Word] = []
        if kind == "for":
            variable = self.next().text
            while not self.at("do", "\n", ";"):
                words.append(self.next())
            while self.at("\n", ";"):
                self.next()
            condition: tuple[Node, ...] = ()
        else:
            condition = self.list_until(("do",))
        self.expect("do")
        body = self.list_until(("done",))
        self.expect("done")
        self._redirected()
        # Without "in" it goes over the arguments of the script.
        return Loop(condition + body, variable, tuple(words[1:]))

    def _function(self) -> Function:
        name = self.next().text
        self.expect("(")
        self.expect(")")
        while self.at("\n"):
            self.next()
        self.expect("{")
        body = self.list_until(("}",))
        self.expect("}")
        return Function(name, body)

    def _redirected(self) -> None:
        token = self.peek()
        if token is not None and token.op and token.text not in (";", "\n", "&&", "||", ";;"):
            raise self.unexpected()

    def _command(self) -> Command:
        words: list[Word] = []
        writes: list[str] = []
        line = self.next().line
        self._at -= 1
        while (token := self.peek()) is not None:
            if not token.op:
                words.append(self.next())
            elif token.text.lstrip("0123456789") in (">", ">>", ">|", ">&"):
                self.next()
                writes.append(self.next().text)
            elif token.text.lstrip("0123456789") in ("<", "<&"):
                self.next()
                self.next()
            else:
                break
        if not words and not writes:
            raise self.unexpected()
        return Command(tuple(words), tuple(writes), line)
