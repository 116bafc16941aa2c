"""What goes wrong with Docker's API, as EngineError: one sentence, and the next step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import docker.errors
import requests
import urllib3.exceptions

from mllock.errors import EngineError

__all__ = ["MissingError", "fine_if_ended", "fine_if_going", "translated", "unreachable"]


# Engines 19.03 to 28; later ones, which ask for the container device interface; the toolkit's own.
_NO_TOOLKIT = ("could not select device driver", "CDI", "nvidia-container-cli: initialization")
_NO_GPUS = (
    "install the NVIDIA container toolkit on the engine's machine and restart the engine, or use "
    "--runtime host"
)
# Before it stand half a dozen lines about hooks.
_TOOLKIT = "nvidia-container-cli: "


class MissingError(EngineError):
    """What was named is not there (404). Where that is an answer, the adapter makes it None."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """`what` completes "the container engine cannot ..."."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise MissingError(f"the container engine cannot {what}: {_said(error)}") from error
    except docker.errors.APIError as error:
        raise EngineError(
            f"the container engine cannot {what}: {_said(error)}",
            hint=_NO_GPUS
            if any(text in str(error.explanation) for text in _NO_TOOLKIT)
            else "look into the engine's log, then run the same command again",
        ) from error
    except requests.exceptions.ReadTimeout as error:
        raise EngineError(
            f"the container engine did not answer when asked to {what}",
            hint='is it overloaded? see "docker info"',
        ) from error
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        docker.errors.StreamParseError,
        ConnectionError,
    ) as error:
        raise EngineError(
            f"the container engine went away while it was to {what}",
            hint="start it again, then run the same command again",
        ) from error


@contextlib.contextmanager
def fine_if_ended() -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        # Engine API, ContainerKill: 409 if the container is not running.
        if error.status_code != 409:
            raise


@contextlib.contextmanager
def fine_if_going() -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        if "already in progress" not in str(error):
            raise


def unreachable(endpoint: str, reason: str) -> EngineError:
    """Why there is no engine, for a person who may not know what a socket is."""
    if "Permission denied" in reason:
        return EngineError(
            f"no permission to use the container engine at {endpoint}",
            hint="join the group that owns its socket (usually docker), or name another engine "
            "with DOCKER_HOST",
        )
    if endpoint.startswith("ssh:") and "paramiko" in reason:
        return EngineError(
            f"an engine at {endpoint} needs a package that is not installed",
            hint='pip install "docker[ssh]"',
        )
    return EngineError(
        f"no container engine answers at {endpoint}",
        hint="start it, or name another one with DOCKER_HOST",
    )


def _said(error: docker.errors.APIError) -> str:
    text = str(error.explanation or error).strip()
    lines = (text[text.index(_TOOLKIT) :] if _TOOLKIT in text else text).splitlines()
    return lines[0] if lines else "no reason given"
