"""Shell lines that make an image: `pip install`, `apt-get install`, `conda install` are read.

Nothing is run. Lines that only tidy up lose nothing; every other command is a leftover.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterator

from mllock.spec.importing.conda import conda_dependency, read_conda
from mllock.spec.importing.documents import Files, read_yaml
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.pip_lines import install_arguments

__all__ = ["commands_of", "read_shell"]

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_RUN = "only pip install and apt-get install are read: nothing else is run to make an image"
_RUN_HINT = "look for a Debian package or wheel of it, or use a base that has it"
_APT_VALUE = ("-o", "--option", "-t", "--target-release", "-c", "--config-file")
_TIDY = re.compile(
    r"(?:apt-get|apt)(?:\s+-\S+)*\s+(?:update|clean|autoclean|autoremove|purge|remove)\b.*"
    r"|rm\s+-[rRf]+\s+[^|]*|set\s+[-+].*|true|:|pip3?\s+cache\s+purge|conda\s+clean\b.*"
    r"|(?:\.|source)\s+\S*/activate|python[0-9.]*\s+-m\s+venv\s+.*|cd\s+.*|export\s+DEBIAN_FRONTEND=.*",
    re.DOTALL,
)
_PROJECT_TOOLS = ("poetry", "uv", "pdm", "pipenv", "hatch")


def read_shell(
    out: Collector,
    files: Files,
    text: str,
    place: Place,
    *,
    line_at: Callable[[int], int] | None = None,
    folder: str = "",
    system: bool = True,
) -> None:
    """Every command of `text`. `line_at` says on which line a character of it stands; without
    `system`, Debian packages are those of a stage that is thrown away."""
    line, counted = place.line, 0
    for offset, command in commands_of(text):
        line, counted = line + text.count("\n", counted, offset), offset
        at = line if line_at is None else line_at(offset)
        _command(out, files, command, Place(file=place.file, line=at), folder, system)


def commands_of(text: str) -> Iterator[tuple[int, str]]:
    """The commands between `&&`, `||`, `;` and line ends outside of quotes, with where they start.
    A pipeline is one command."""
    start, quote, index = 0, "", 0
    while index < len(text):
        char = text[index]
        if char == "\\" and quote != "'":
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (index == 0 or text[index - 1].isspace()):
            yield from _stripped(text, start, index)
            end = text.find("\n", index)
            index = start = len(text) if end < 0 else end
            continue
        elif char in ";\n" or text[index : index + 2] in ("&&", "||"):
            yield from _stripped(text, start, index)
            index += 1 if char in ";\n" else 2
            start = index
            continue
        index += 1
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    part = text[start:end]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), part.strip()


def _command(
    out: Collector, files: Files, text: str, place: Place, folder: str, system: bool
) -> None:
    if _TIDY.fullmatch(text):
        return
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in ("sudo", "-E", "exec")):
        words.pop(0)
    words = _without_redirections(words)
    if "|" in text or not words or "`" in text or "$(" in text:
        out.left(place, text, _RUN, _RUN_HINT)
        return
    program = posixpath.basename(words[0])
    if re.fullmatch(r"python[0-9.]*", program) and words[1:3] == ["-m", "pip"]:
        program, words = "pip", words[2:]
    if program == "uv" and words[1:2] == ["pip"]:
        program, words = "pip", words[1:]
    arguments = words[1:]
    done = next((word for word in arguments if word in ("install", "wheel", "download")), None)
    if re.fullmatch(r"pip[0-9.]*", program) and done is not None:
        at = arguments.index(done)
        rest = _known(out, arguments[at + 1 :], place)
        install_arguments(out, files, [*_options(arguments[:at]), *rest], place, folder)
    elif program in ("apt-get", "apt", "aptitude") and "install" in arguments:
        _apt(out, arguments, place, system)
    elif program in ("conda", "mamba", "micromamba") and "install" in arguments:
        _conda(out, arguments[arguments.index("install") + 1 :], place)
    elif program in ("conda", "mamba") and arguments[:1] == ["env"]:
        _conda_env(out, files, arguments, place)
    elif program in _PROJECT_TOOLS:
        hint = "import its files as well: mllock init --from DIR"
        out.left(place, text, f"{program} installs what its own files name", hint)
    elif program == "apk":
        hint = "name their Debian packages in system-packages"
        out.left(place, text, "packages of Alpine are not those of Debian", hint)
    elif program in ("apt-get", "apt") and "upgrade" in " ".join(arguments):
        out.left(place, text, "mllock lock takes the newest packages, and pins them")
    else:
        out.left(place, text, _RUN, _RUN_HINT)


def _without_redirections(words: list[str]) -> list[str]:
    """Without `2>&1`, `>/dev/null` and `> /dev/null`."""
    out: list[str] = []
    skip = False
    for word in words:
        arrow = re.fullmatch(r"(?:[0-9]|&)?>{1,2}(?!=)(.*)", word)
        if arrow is None and not skip:
            out.append(word)
        skip = arrow is not None and not arrow[1]
    return out


def _options(words: list[str]) -> list[str]:
    return [word for word in words if word.startswith("-")]


def _known(out: Collector, words: list[str], place: Place) -> list[str]:
    """Without what a variable stands for that nobody has set."""
    for word in words:
        if "$" in word and not word.startswith("-"):
            out.left(place, word, "what the variable stands for is not known", "add it by hand")
    return [word for word in words if "$" not in word or word.startswith("-")]


def _apt(out: Collector, arguments: list[str], place: Place, system: bool) -> None:
    rest = _known(out, arguments, place)
    rest.remove("install")
    while rest:
        word = rest.pop(0)
        if word in _APT_VALUE:
            del rest[:1]
        elif word.startswith("-"):
            continue
        elif not system:
            why = "is installed in a stage that is not in the image"
            out.left(place, word, why, "add it to system-packages if a program needs it")
        elif python := re.fullmatch(r"python3(\.\d+)?(-pip|-venv|-dev|-distutils)?", word):
            out.left(place, word, "Python is the base's own, and pip is not needed")
            if python[1]:
                out.python_is(f"3{python[1]}", place)
        elif word in ("build-essential", "gcc", "g++", "make", "cmake") or word.endswith("-dev"):
            why = "only wheels are installed: nothing is compiled"
            out.left(place, word, why, "add it to system-packages if a program needs it")
        else:
            out.system(word, place)


def _conda(out: Collector, arguments: list[str], place: Place) -> None:
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-c", "--channel", "-n", "--name", "-p", "--prefix", "--file"):
            value = rest.pop(0) if rest else ""
            if word == "--file":
                out.left(place, f"--file {value}", "import it as well", f"--from {value}")
        elif not word.startswith("-"):
            conda_dependency(out, word, place)


def _conda_env(out: Collector, files: Files, arguments: list[str], place: Place) -> None:
    """`conda env create -f FILE`, of a file that COPY put somewhere."""
    named = [word for word in arguments if word.endswith((".yml", ".yaml"))]
    name = posixpath.basename(named[0].partition("=")[2] or named[0]) if named else ""
    data = files.read(name) if name else None
    if data is None:
        out.left(place, " ".join(["conda", *arguments]), "no such file in this folder")
    elif name not in out.files:
        read_conda(out, files, read_yaml(data, name))
