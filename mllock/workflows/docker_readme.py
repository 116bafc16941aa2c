"""The README of an exported build context: what is pinned, by what, and what is not. Pure."""

from __future__ import annotations

from mllock.image.dockerfile import DockerfilePlan
from mllock.lock.types import Lock
from mllock.spec.loaded import LoadedSpec

__all__ = ["readme"]

_BUILD = """\
# {name}

A build context that mllock has written from `mlproject.lock`. It needs a container engine, and no
mllock.

    sha256sum --check --quiet SHA256SUMS
{builds}
Nothing is fetched while it builds{except_}.

## What is pinned, and by what

- **Base**: {base}
- **System packages**: {system}
- **Python packages**: {python}
- **Code, model and record**: the files of this context, by `SHA256SUMS`.

## What is not

Two builds give images that work the same and whose digests differ: files that pip writes, folders
that the builder makes and the image's config have the time of the build in them. `mllock check`
proves images that `mllock build` has made, because their digests are signed; an image that was
built from this folder is none of them, and is refuted.
"""

_DEBS = """
## Debian packages

`debs.txt` has the sha256 of every package, under its path in a Debian mirror. With one of your
choice:

    mkdir debs && cd debs
    while read -r _ path; do curl --create-dirs -fsSo "$path" "$MIRROR/$path"; done < ../debs.txt
    sha256sum --check --quiet ../debs.txt

{archives} hold what these packages hold, laid out as mllock does it: no maintainer script was run,
documentation is left out. To take other packages from then on, stand on an image of a registry
instead, and install them with apt.
"""


def readme(plan: DockerfilePlan, lock: Lock, loaded: LoadedSpec) -> bytes:
    builds = "".join(
        f"    docker build --target {stage.kind} -t {plan.project}:{stage.kind} .\n"
        for stage in plan.stages
    )
    except_ = "" if plan.base is None else ", but for the base image"
    if not plan.offline and plan.pip is not None:
        except_ += (" and" if except_ else ", but for") + (
            " the wheels, from the index that `--build-arg PIP_INDEX_URL=...` names"
        )
    base = (
        f"`base.tar.gz`, assembled by mllock from signed packages of debian:{lock.base.suite}; no "
        "registry has it, so it is here"
        if plan.base is None
        else f"`{plan.base}`, by digest"
    )
    own = [archive for archive in plan.archives if archive == "system.tar.gz"]
    text = _BUILD.format(
        name=plan.project,
        builds=builds,
        except_=except_,
        base=base,
        system="`system.tar.gz`, from the packages of `debs.txt`"
        if own
        else "none beyond the base",
        python=f"{len(lock.python.packages)}, by version and sha256 in `requirements.txt`; pip is "
        "run with `--require-hashes`"
        if plan.pip
        else "none",
    )
    if lock.system:
        names = " and ".join(f"`{archive}`" for archive in plan.archives)
        text += _DEBS.format(archives=names)
    if loaded.spec.environment.bytecode:
        text += (
            "\nBytecode (`.pyc`) is made by the image's own Python while it builds, and is not "
            "checked against the sources when it is imported.\n"
        )
    return text.encode()
