"""Building with Docker's own builder: a context in, what it prints out, a failing step by name.

The builder of the API, not that of the docker command (BuildKit): it needs no session with the
client, and engines of every age have it. It caches by its own rules; what it leaves behind is found
by a label, which every stage of a Dockerfile has to set first. Source: Docker Engine API v1.41,
ImageBuild.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Generator, Iterator

import docker
import docker.errors

from mllock.engine.docker_errors import translated
from mllock.errors import EngineError

__all__ = ["build", "remove_built"]

# A step may work as long without a word: pip, when it unpacks.
_SILENCE = 3600
_KEPT = 20
_GIVING_UP = 10
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = ("--->", "Removing intermediate container")


def build(
    client: docker.APIClient, context: Iterator[bytes], tag: str, target: str
) -> Generator[str, None, None]:
    """What the builder prints, line by line. Closed early, the engine gives up as well."""
    question = {
        "t": tag,
        "target": target,
        "rm": True,
        "forcerm": True,
        # All that it needs is in the context, or in the engine.
        "pull": False,
        "networkmode": "none",
    }
    with translated("build an image"):
        # Not the docker package's `build`: it sends the caller's credentials for all registries.
        response = client._post(  # noqa: SLF001
            client._url("/build"),  # noqa: SLF001
            params=question,
            data=context,
            headers={"Content-Type": "application/x-tar"},
            stream=True,
            timeout=_SILENCE,
        )
        # Closed early, the engine sees that nobody listens, and gives up.
        with contextlib.closing(response):
            client._raise_for_status(response)  # noqa: SLF001
            yield from _lines(client._stream_helper(response, decode=True))  # noqa: SLF001


def _lines(events: Iterator[dict[str, object]]) -> Generator[str, None, None]:
    step = "its first step"
    said: list[str] = []
    for event in events:
        if "error" in event:
            raise EngineError(
                f"the container engine cannot build the image: {step} failed",
                found="\n".join([*said[-_KEPT:], str(event["error"]).strip()]),
                hint='"mllock -v build" shows all that the engine says',
            )
        for line in str(event.get("stream") or "").splitlines():
            text = _COLOUR.sub("", line).strip()
            if not text:
                continue
            if text.startswith(("Step ", "STEP ")):
                step, said = text, []
            elif not text.startswith(_NOISE):
                said.append(text)
            yield text


def remove_built(client: docker.APIClient, label: str, keep: str | None) -> None:
    """Containers and images with `label`, but for the image `keep` and what it stands on."""
    give_up = time.monotonic() + _GIVING_UP
    with translated("remove what a build left"):
        while _remove(client, label, keep) and keep is None and time.monotonic() < give_up:
            # A build that was interrupted may still be ending its step.
            time.sleep(0.2)


def _remove(client: docker.APIClient, label: str, keep: str | None) -> bool:
    """Whether there was anything."""
    wanted = {"label": label}
    containers = client.containers(all=True, quiet=True, filters=wanted)
    for container in containers:
        with contextlib.suppress(docker.errors.APIError):
            client.remove_container(container["Id"], v=True, force=True)
    left = set(client.images(all=True, quiet=True, filters=wanted)) - {keep}
    found = bool(containers or left)
    # An image goes after those that stand on it: in as many rounds as there are steps at most.
    while left:
        gone = {image for image in left if _removed(client, image)}
        if not gone:
            break
        left -= gone
    return found


def _removed(client: docker.APIClient, image: str) -> bool:
    try:
        client.remove_image(image, noprune=True)
    except docker.errors.NotFound:
        return True
    except docker.errors.APIError:
        # Others stand on it, or run it.
        return False
    return True
