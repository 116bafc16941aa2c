"""A lock as a Dockerfile: one environment stage, and the images that stand on it. Pure.

Not for the files beside it (`mllock.workflows.docker_context`) or for building
(`mllock.workflows.docker_environment`). No value of a spec or lock stands bare in the text:
commands are JSON lists, which builders do not expand and no shell reads; values of variables and
labels are quoted, with what builders expand escaped; paths of the project are in the context, never
in the text. What a Dockerfile cannot hold (a line end in a variable) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mllock.errors import SpecError
from mllock.image.types import ImageConfig, ImageKind
from mllock.image.wheel import PREFIX
from mllock.resources import resource

__all__ = ["DockerStage", "DockerfilePlan", "exec_form", "quoted_word", "render", "requirements"]

TEMPLATE = "Dockerfile.j2"

# pip from its own wheel, as ensurepip runs it: the image has none, before and after.
_PACKAGES = "/opt/packages"
_INSTALL = (
    "install",
    "--require-hashes",
    "--no-deps",
    "--no-compile",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--only-binary=:all:",
)
# A program that cannot be compiled is one for another Python; pip leaves these as they are, too.
_COMPILE = (
    "import compileall as c,py_compile as p;"
    "c.compile_dir('/opt/venv/lib',quiet=2,force=True,"
    "invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)"
)
_OPEN = (
    "import os,sys\n"
    "for path in sys.argv[1:]:\n"
    "    os.makedirs(path,exist_ok=True)\n"
    "    os.chmod(path,0o1777)"
)
# What builders do not take between quotes: line ends end the instruction.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerStage:
    """One image: `folders` of the context are copied to `/`, in this order, a layer each;
    `open_folders` are for outputs."""

    kind: ImageKind
    folders: tuple[str, ...]
    command: tuple[str, ...]
    open_folders: tuple[str, ...] = ()
    port: int | None = None
    health: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerfilePlan:
    """`base` is an image reference, None for nothing below; `archives` are unpacked above it.
    `pip` is the name of pip's wheel, None without packages. `offline`: wheels are in the context,
    and no index is asked."""

    project: str
    base: str | None
    archives: tuple[str, ...]
    interpreter: str
    pip: str | None
    offline: bool
    bytecode: bool
    variables: Mapping[str, str]
    stages: tuple[DockerStage, ...] = ()


def render(plan: DockerfilePlan) -> str:
    """The Dockerfile. Law: equal plans give equal text. Raises SpecError."""
    import jinja2

    for name, value in plan.variables.items():
        if _CONTROL.search(value):
            raise SpecError(
                "a Dockerfile cannot hold this value: it has a line end or another control "
                "character",
                file="mlproject.toml",
                key=f"environment.variables.{name}",
                found=json.dumps(value),
                hint="let the program set it; images that mllock builds can have it",
            )
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701 - no markup: the two filters are what escapes here
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["exec"] = exec_form
    environment.filters["word"] = quoted_word
    text = resource("templates", TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        project=plan.project,
        base=plan.base,
        archives=plan.archives,
        interpreter=plan.interpreter,
        venv_python=PREFIX.interpreter,
        packages=plan.pip is not None,
        offline=plan.offline,
        install=_install(plan),
        bytecode=plan.bytecode and plan.pip is not None,
        compile_program=_COMPILE,
        open_program=_OPEN,
        variables=sorted(plan.variables.items()),
        user=ImageConfig(command=(), variables={}).user,
        stages=[
            {
                "kind": stage.kind,
                "folders": stage.folders,
                "open_folders": list(stage.open_folders),
                # On one line, because a label has no other.
                "labels": [
                    (name, " ".join(value.split())) for name, value in sorted(stage.labels.items())
                ],
                "port": stage.port,
                "health": stage.health,
                "command": stage.command,
            }
            for stage in plan.stages
        ],
    )


def exec_form(words: Sequence[str]) -> str:
    """A JSON list in ASCII: Dockerfile reference, exec form. Nothing in it is expanded."""
    return json.dumps(list(words), ensure_ascii=True)


def quoted_word(text: str) -> str:
    """`text` as one word of ENV or LABEL. Dockerfile reference, environment replacement: between
    double quotes a backslash keeps `"`, `$` and itself from meaning anything."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def requirements(wheels: Sequence[tuple[str, str, Sequence[str]]]) -> bytes:
    """The requirements file for pip of (name, version, sha256 of each wheel), sorted by name."""
    lines = [
        " \\\n    ".join((f"{name}=={version}", *(f"--hash=sha256:{hash_}" for hash_ in hashes)))
        for name, version, hashes in sorted(wheels)
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _install(plan: DockerfilePlan) -> tuple[str, ...]:
    if plan.pip is None:
        return ()
    where = ("--no-index", f"--find-links={_PACKAGES}") if plan.offline else ()
    return (
        PREFIX.interpreter,
        "-I",
        "-B",
        f"{_PACKAGES}/{plan.pip}/pip",
        *_INSTALL,
        *where,
        f"--requirement={_PACKAGES}/requirements.txt",
    )
