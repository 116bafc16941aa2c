"""Dockerfile: base, Debian packages, Python packages, variables, command and port.

The last stage is the image. Stages that it is made FROM are read with it; of a stage that it only
copies from, what pip installs counts, because that is what such stages are for.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from mllock.errors import InputError
from mllock.spec.importing.bases import base_of
from mllock.spec.importing.docker_syntax import Instruction, expand, instructions, json_words
from mllock.spec.importing.documents import Files
from mllock.spec.importing.found import Collector, Place, Program
from mllock.spec.importing.shell import commands_of, read_shell

__all__ = ["read_dockerfile"]

_SERVERS = re.compile(
    r"\b(uvicorn|gunicorn|hypercorn|waitress-serve|flask|fastapi|streamlit|gradio|bentoml|mlserver"
    r"|tritonserver|torchserve|serve|server|api|app|main:app)\b"
)
_TRAINERS = re.compile(r"\b(train|training|fit|finetune|fine_tune)(\.py|\b)")
_PAIR = re.compile(r"([^\s=]{1,200})=((?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s\"'\\])*)")
_QUIET = {"ARG", "FROM", "CMD", "ENTRYPOINT"}
# Instruction -> why it is not carried over, and what to do.
_OTHER = {
    "USER": ("images run as a user of mllock's, who is not root", None),
    "VOLUME": ("an image has no volumes: data is declared", "name it in [data]"),
    "LABEL": ("an image has labels of mllock's only", None),
    "MAINTAINER": ("an image has labels of mllock's only", None),
    "SHELL": ("no shell makes an image", None),
    "STOPSIGNAL": ("a program is stopped by SIGTERM", None),
    "ONBUILD": ("nothing is built from an image of mllock's", None),
    "ADD": ("only what is declared is in an image", "name it in [data] or [train] code"),
}


class _Stage:
    def __init__(self, image: str, place: Place, name: str) -> None:
        self.image = image
        self.place = place
        self.name = name
        self.body: list[tuple[Instruction, dict[str, str]]] = []
        self.copied: list[str] = []
        self.env: dict[str, str] = {}


def read_dockerfile(out: Collector, files: Files, text: str, file: str) -> None:
    """Raises InputError where it is no Dockerfile."""
    out.read(file)
    stages = _stages(instructions(text, file), file)
    if not stages:
        raise InputError("no FROM: this is not a Dockerfile", file=file, line=1)
    by_name = {stage.name: stage for stage in stages if stage.name}
    by_name |= {str(number): stage for number, stage in enumerate(stages)}
    chain = [stages[-1]]
    while (below := by_name.get(chain[-1].image.lower())) is not None and below not in chain:
        chain.append(below)
    base_of(out, chain[-1].image, chain[-1].place)
    copied = {by_name[name].name for stage in chain for name in stage.copied if name in by_name}
    for stage in stages:
        if stage in chain:
            _stage(out, files, file, stage)
        elif stage.name in copied or any(by_name.get(n) is stage for n in _all_copied(chain)):
            _installed(out, files, file, stage)
        else:
            why = "this stage is not in the last one, and was not read"
            out.left(stage.place, f"stage {stage.name or stage.image}", why)
    _start(out, file, list(reversed(chain)))


def _all_copied(chain: list[_Stage]) -> list[str]:
    return [name for stage in chain for name in stage.copied]


def _stages(found: tuple[Instruction, ...], file: str) -> list[_Stage]:
    stages: list[_Stage] = []
    outer: dict[str, str] = {}
    below: dict[str, dict[str, str]] = {}
    variables: dict[str, str] = {}
    for item in found:
        place = Place(file=file, line=item.line)
        if item.word == "FROM":
            words = [word for word in expand(item.text, outer).split() if not word.startswith("--")]
            name = words[2].lower() if len(words) == 3 and words[1].lower() == "as" else ""
            if not words:
                raise InputError("FROM what?", file=file, line=item.line)
            stages.append(_Stage(words[0], place, name))
            # ENV of the stage below holds in this one, ARG does not.
            variables = dict(below.get(words[0].lower(), {}))
            stages[-1].env |= variables
            if name:
                below[name] = stages[-1].env
            continue
        known = outer if not stages else variables
        if item.word == "ARG":
            for word in _words(expand(item.text, known)):
                name, equals, value = word.partition("=")
                if equals:
                    known[name] = value
                elif stages and name in outer:
                    known[name] = outer[name]
        elif not stages:
            raise InputError("before the first FROM", file=file, line=item.line, found=item.word)
        elif item.word == "ENV":
            for name, value in _pairs(item.text, variables):
                variables[name] = stages[-1].env[name] = value
        if stages:
            stages[-1].body.append((item, dict(variables)))
            if item.word in ("COPY", "RUN"):
                named = re.findall(r"--(?:from|mount=\S*?from)=([^\s,]+)", item.text)
                stages[-1].copied += [name.lower() for name in named]
    return stages


def _stage(out: Collector, files: Files, file: str, stage: _Stage) -> None:
    folder = "/app"
    for item, variables in stage.body:
        place = Place(file=file, line=item.line)
        if item.word == "WORKDIR":
            folder = posixpath.join(folder, expand(item.text, variables))
        if item.word == "RUN":
            _run(out, files, item, variables, place, system=True)
        elif item.word == "ENV":
            for name, value in _pairs(item.text, variables):
                own = name == "PYTHONPATH"
                _variable(out, name, _own_folders(value, folder) if own else value, place)
        elif item.word == "EXPOSE":
            for word in expand(item.text, variables).split():
                port = re.fullmatch(r"(\d{1,5})(?:/tcp)?", word)
                if port and 0 < int(port[1]) < 65536 and out.port in (None, int(port[1])):
                    out.port = int(port[1])
                else:
                    out.left(place, f"EXPOSE {word}", "one port is served", "set [serve] port")
        elif item.word == "HEALTHCHECK":
            _health(out, item, place)
        elif item.word == "WORKDIR":
            if item.text.rstrip("/") != "/app":
                out.left(
                    place,
                    f"WORKDIR {item.text}",
                    "programs run in /app",
                    None,
                )
        elif item.word == "ADD" and "://" not in item.text:
            continue  # as COPY: code and data of the project travel
        elif item.word == "COPY":
            _copy(out, item, place)
        elif item.word in _OTHER:
            out.left(place, f"{item.word} {item.text}", *_OTHER[item.word])
        elif item.word not in _QUIET:
            raise InputError(
                "not an instruction of a Dockerfile",
                file=file,
                line=item.line,
                found=item.word[:80],
            )


def _installed(out: Collector, files: Files, file: str, stage: _Stage) -> None:
    for item, variables in stage.body:
        if item.word == "RUN":
            _run(out, files, item, variables, Place(file=file, line=item.line), system=False)


def _run(
    out: Collector,
    files: Files,
    item: Instruction,
    variables: dict[str, str],
    place: Place,
    *,
    system: bool,
) -> None:
    if item.heredoc is not None:
        if not item.is_script():
            out.left(place, f"RUN {item.text}", "a program is not run to make an image")
            return
        inside = Place(file=place.file, line=item.heredoc_line)
        text = re.sub(r"\\\n", "  ", expand(item.heredoc, variables))
        read_shell(out, files, text, inside, system=system)
        return
    # Flags of RUN are blanked, so that offsets stay those of the file.
    plain = re.sub(r"^(?:--\S+\s+)+", lambda match: " " * len(match[0]), item.text)
    words = json_words(plain.strip())
    # Command by command, so that each keeps its line though variables change its length.
    for offset, command in commands_of(plain if words is None else shlex.join(words)):
        line = item.line if words is not None else item.line_at(offset)
        at = Place(file=place.file, line=line)
        read_shell(out, files, expand(command, variables), at, system=system)


def _variable(out: Collector, name: str, value: str, place: Place) -> None:
    if name in ("PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "DEBIAN_FRONTEND"):
        return  # only while an image is made
    if name.startswith(("PIP_", "UV_", "POETRY_")):
        why = "a setting of the tool that installs, not of the image"
        out.left(place, name, why, "set it where mllock lock runs")
    elif name == "PATH" or "$" in value:
        out.left(place, f"ENV {name}", "is set by mllock, or from another variable")
    else:
        out.variable(name, value, place)


def _own_folders(value: str, folder: str) -> str:
    """PYTHONPATH as folders of the project, where the image has them in its working folder."""
    parts = [part for part in value.split(":") if part and not part.startswith("$")]
    return ":".join(
        part.rstrip("/").removeprefix(f"{folder.rstrip('/')}/") for part in dict.fromkeys(parts)
    )


def _copy(out: Collector, item: Instruction, place: Place) -> None:
    if "--from=" in item.text and not re.search(
        r"--from=\S+\s+\S*(site-packages|/venv|/install|/bin|/usr/local|/root/\.local|\.venv)",
        item.text,
    ):
        why = "files of another stage or image are not copied"
        out.left(place, f"COPY {item.text}", why, "add them to the project, as code or data")
    elif item.heredoc is not None:
        why = "a file that only the Dockerfile holds"
        out.left(place, f"COPY {item.text}", why, "write it into the project")


def _health(out: Collector, item: Instruction, place: Place) -> None:
    path = re.search(
        r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::\d+)?(/[\w./-]*)", item.text
    )
    if path is not None and out.health is None:
        out.health = path[1]
    elif item.text.strip().upper() != "NONE":
        why = "no path of the program is asked for"
        out.left(place, f"HEALTHCHECK {item.text}", why, 'set [serve] health, e.g. "/healthz"')


def _start(out: Collector, file: str, chain: list[_Stage]) -> None:
    """ENTRYPOINT and CMD of the image: the last of each, CMD behind ENTRYPOINT's exec form."""
    last: dict[str, tuple[Instruction, dict[str, str]]] = {}
    for stage in chain:
        for item, variables in stage.body:
            if item.word in ("CMD", "ENTRYPOINT"):
                last[item.word] = (item, variables)
                if item.word == "ENTRYPOINT":
                    last.pop("CMD", None)
    if not last:
        return
    words: list[str] | str = []
    at = 0
    for word in ("ENTRYPOINT", "CMD"):
        if word not in last:
            continue
        item, variables = last[word]
        if re.fullmatch(r"\[\s*\]", item.text):
            continue  # resets what the image below has
        given = json_words(item.text)
        if isinstance(words, str):  # CMD is not for an ENTRYPOINT of a shell
            out.left(Place(file=file, line=item.line), f"CMD {item.text}", "ENTRYPOINT ignores it")
            continue
        at = at or item.line
        if given is None:
            text = expand(item.text, variables)
            words = [*words, "sh", "-c", text] if words else text
        else:
            words = [*words, *given]
    if not words:
        return
    place = Place(file=file, line=at)
    command = out.command(words, place)
    if command is None:
        return
    shown = shlex.join(command)
    if _TRAINERS.search(shown):
        why = "does not say which file or folder the model is: [train] model is a guess"
        out.left(place, shown, why, "write what the command writes into [train] model")
        out.train_with(Program(command=command, place=place, model=out.output("model", place)))
    elif _SERVERS.search(shown) or out.port is not None:
        port = re.search(r"(?:--port[= ]|:)([1-9][0-9]{1,4})\b", shown)
        if out.port is None and port is not None and int(port[1]) < 65536:
            out.port = int(port[1])
        out.serve_with(Program(command=command, place=place))
    else:
        why = "whether it trains or serves is not said"
        out.left(place, shown, why, "write it into [train] command or [serve] command")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _pairs(text: str, variables: dict[str, str]) -> list[tuple[str, str]]:
    """`ENV A=b C="d e"`, or the old `ENV A b c`."""
    first = text.split(maxsplit=1)
    if first and "=" not in first[0]:
        return [(first[0], expand(first[1] if first[1:] else "", variables))]
    return [
        (name, expand(" ".join(_words(value)) if value else "", variables))
        for name, value in _PAIR.findall(text)
    ]
