"""Reading tests/corpus: many small documents in one file, each with what is said about it.

A case starts with "=== NAME"; in rules.txt a line "because: ..." follows, which says why a schema
cannot see it. Then comes the document, up to the line "---", then the whole message. "@base"
stands for the four lines of the smallest spec, after which [environment] is still open.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus"
BASE = '[project]\nname = "a"\n[environment]\npython = "3.11"'


@dataclass(frozen=True)
class Case:
    name: str
    because: str
    document: str
    message: str

    def __str__(self) -> str:
        return self.name


def cases(*parts: str) -> list[Case]:
    text = CORPUS.joinpath(*parts).read_text(encoding="utf-8")
    found = []
    for block in text.split("=== ")[1:]:
        head, _, message = block.partition("\n---\n")
        name, _, document = head.partition("\n")
        because = ""
        if document.startswith("because: "):
            because, _, document = document.removeprefix("because: ").partition("\n")
        document = document.rstrip("\n").replace("@base", BASE) + "\n"
        found.append(Case(name, because, document, message.strip("\n")))
    return found
