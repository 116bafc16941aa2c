"""Docker, and what speaks its API: the engine behind DOCKER_HOST or the current docker context.

The one module that imports the `docker` package. It translates, in both directions: plans to the
API's words, its answers to values, its exceptions to EngineError. No policy: what a training
container may do is said by its plan. A short question is given up after ANSWER seconds without an
answer; an operation that moves bytes after SILENCE seconds without any.
Source: Docker Engine API v1.41 (engine 20.10) and later.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import docker
import docker.errors
import requests
from docker.context import ContextAPI
from docker.utils import kwargs_from_env
from docker.utils.socket import frames_iter

from mllock.engine import docker_build
from mllock.engine.absent import USUAL
from mllock.engine.docker_errors import (
    MissingError,
    fine_if_ended,
    fine_if_going,
    translated,
    unreachable,
)
from mllock.engine.docker_values import (
    container_of,
    image_of,
    info_of,
    is_remote,
    look_of,
    plain_endpoint,
)
from mllock.engine.types import (
    Change,
    Container,
    ContainerPlan,
    EngineImage,
    EngineInfo,
    GpuRequest,
    Look,
)
from mllock.errors import EngineError

__all__ = ["DockerEngine", "connect"]

ANSWER = 60
SILENCE = 600
_CONNECT = 10
_CHUNK = 1024 * 1024
# Of engine 20.10; only asked for which one it speaks.
_OLDEST = "1.41"
_CONTEXTS = 'see "docker context ls"; DOCKER_HOST names an engine directly'
# Engine API: kinds of changes of a container's files.
_CHANGES = {0: "modified", 1: "added", 2: "deleted"}


def connect(environ: Mapping[str, str]) -> DockerEngine:
    """The engine that the docker command would use. Raises EngineError that says why there is none.

    Order: DOCKER_HOST, DOCKER_CONTEXT, the context in Docker's config, the usual socket.
    """
    settings = _settings(environ)
    endpoint = settings.get("base_url") or USUAL
    shown = plain_endpoint(endpoint)
    if endpoint.startswith("unix://"):
        try:
            os.stat(endpoint.removeprefix("unix://"))
        except OSError as error:
            raise unreachable(shown, str(error)) from error
    version = _api_version(settings, shown)
    client = _client(settings, shown, version, ANSWER)
    try:
        with translated("describe itself"):
            info = info_of(client.info(), shown, remote=is_remote(endpoint))
    except BaseException:
        client.close()
        raise
    return DockerEngine(client, info)


def _settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """`base_url` and `tls` as the docker command would have them."""
    try:
        settings = kwargs_from_env(environment=dict(environ) or {"": ""})
        if "base_url" in settings:
            return dict(settings)
        name = environ.get("DOCKER_CONTEXT")
        if name and ContextAPI.get_context(name) is None:
            raise EngineError(
                "no docker context of this name", key="DOCKER_CONTEXT", found=name, hint=_CONTEXTS
            )
        return dict(ContextAPI.kwargs_from_context(environment=dict(environ)))
    except (docker.errors.DockerException, ValueError, OSError) as error:
        raise EngineError(
            f"the settings of the docker command cannot be used: {error}", hint=_CONTEXTS
        ) from error


def _api_version(settings: Mapping[str, Any], shown: str) -> str:
    """The newest that both sides speak: engines refuse what is too new and what is too old."""
    client = _client(settings, shown, _OLDEST, _CONNECT)
    try:
        return str(client.version(api_version=False)["ApiVersion"])
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise unreachable(shown, str(error)) from error
    finally:
        client.close()


def _client(
    settings: Mapping[str, Any], shown: str, version: str, timeout: int
) -> docker.APIClient:
    try:
        return docker.APIClient(version=version, timeout=timeout, **settings)
    except (docker.errors.DockerException, ValueError, OSError) as error:
        raise unreachable(shown, str(error)) from error


class DockerEngine:
    """Implements `mllock.engine.ports.Engine`."""

    def __init__(self, client: docker.APIClient, info: EngineInfo) -> None:
        self._client = client
        self._info = info

    @property
    def info(self) -> EngineInfo:
        return self._info

    def image(self, reference: str) -> EngineImage | None:
        with contextlib.suppress(MissingError), translated(f"inspect the image {reference}"):
            return image_of(self._client.inspect_image(reference))
        return None

    def images(self) -> Iterator[EngineImage]:
        with translated("list its images"):
            listed = self._client.images(quiet=True)
        found = (self.image(name) for name in dict.fromkeys(listed))
        yield from (image for image in found if image is not None)

    def load(self, archive: Iterable[bytes]) -> None:
        with translated("take an image"), self._patient():
            for event in self._client.load_image(_body(archive)):
                if "error" in event:
                    raise EngineError(
                        f"{self._info.name} refuses the image: {event['error']}",
                        hint="look into its log; is its disk full?",
                    )

    def tag(self, image: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        with translated(f"tag {reference}"):
            self._client.tag(image, repository, tag)

    def untag(self, reference: str) -> None:
        with contextlib.suppress(MissingError), translated(f"remove the tag {reference}"):
            self._client.remove_image(reference)

    def build(self, context: Iterator[bytes], tag: str, target: str) -> Generator[str, None, None]:
        return docker_build.build(self._client, context, tag, target)

    def remove_built(self, label: str, keep: str | None = None) -> None:
        docker_build.remove_built(self._client, label, keep)

    def save(self, image: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._stream("write an image", lambda: self._client.get_image(image, _CHUNK))

    def create(self, plan: ContainerPlan) -> str:
        host = self._client.create_host_config(
            network_mode=None if plan.network else "none",
            read_only=plan.read_only_root,
            tmpfs=dict(plan.tmpfs) or None,
            mem_limit=plan.memory,
            # No swap beyond it: a program that needs more is ended, not slowed.
            memswap_limit=plan.memory,
            port_bindings=dict(plan.ports) or None,
            mounts=[
                docker.types.Mount(
                    target=mount.target,
                    source=mount.source,
                    type=mount.kind,
                    read_only=mount.read_only,
                )
                for mount in plan.mounts
            ],
            init=plan.init or None,
            cap_drop=None if plan.capabilities is None else ["ALL"],
            cap_add=list(plan.capabilities or ()) or None,
            security_opt=None if plan.capabilities is None else ["no-new-privileges"],
            # The engine's default may be one that `output` cannot read.
            log_config=docker.types.LogConfig(type="json-file" if plan.keeps_output else "none"),
            device_requests=None if plan.gpus is None else [_device_request(plan.gpus)],
        )
        with translated("create a container"):
            created = self._client.create_container(
                plan.image,
                command=None if plan.command is None else list(plan.command),
                name=plan.name,
                environment=dict(plan.variables) or None,
                user=plan.user,
                ports=list(plan.ports) or None,
                labels=dict(plan.labels) or None,
                host_config=host,
            )
        return str(created["Id"])

    def start(self, container: str) -> None:
        with translated("start a container"):
            self._client.start(container)

    def output(self, container: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._stream(
            "pass on what a container prints",
            # Not attach: it hijacks the connection, and never ends for a container that has.
            lambda: self._client.logs(
                container, stdout=True, stderr=True, stream=True, follow=True
            ),
        )

    @contextlib.contextmanager
    def attached(self, container: str) -> Iterator[Iterator[bytes]]:
        what = "pass on what a container prints"
        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        with translated(what), self._patient():
            connection = self._client.attach_socket(container, params=wanted)
        try:
            yield _reading(what, (data for _, data in frames_iter(connection, tty=False)))
        finally:
            _close(connection)

    def wait(self, container: str) -> Container:
        with translated("wait for a container"):
            self._client.wait(container, timeout=None)
        ended = self.container(container)
        if ended is None:
            raise EngineError("the container is gone", found=container)
        return ended

    def kill(self, container: str, signal: int) -> None:
        with contextlib.suppress(MissingError), translated("end a container"), fine_if_ended():
            self._client.kill(container, signal)

    def stop(self, container: str, grace: int) -> None:
        with contextlib.suppress(MissingError), translated("stop a container"):
            self._client.stop(container, timeout=grace)

    def remove(self, container: str) -> None:
        with contextlib.suppress(MissingError), translated("remove a container"), fine_if_going():
            self._client.remove_container(container, v=True, force=True)

    def container(self, name: str) -> Container | None:
        with contextlib.suppress(MissingError), translated(f"inspect the container {name}"):
            return container_of(self._client.inspect_container(name))
        return None

    def containers(self, label: str) -> tuple[Container, ...]:
        with translated("list its containers"):
            listed = self._client.containers(all=True, quiet=True, filters={"label": label})
        found = (self.container(item["Id"]) for item in listed)
        return tuple(container for container in found if container is not None)

    def changes(self, container: str) -> tuple[Change, ...]:
        with translated("list what changed in a container"):
            listed = self._client.diff(container) or []
        return tuple(
            Change(path=item["Path"], kind=_CHANGES.get(item["Kind"], "modified"))  # type: ignore[arg-type]
            for item in listed
        )

    def export(self, container: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._stream("export a container", lambda: self._client.export(container, _CHUNK))

    def archive(self, container: str, path: str) -> AbstractContextManager[Iterator[bytes]] | None:
        with (
            contextlib.suppress(MissingError),
            translated(f"read {path} of a container"),
            self._patient(),
        ):
            chunks, _ = self._client.get_archive(container, path, _CHUNK)
            return self._stream(f"read {path} of a container", lambda: chunks)
        return None

    def look(self, container: str, path: str) -> Look | None:
        with contextlib.suppress(MissingError), translated(f"look at {path} of a container"):
            # The docker package has no call for this question; HEAD is what `docker cp` asks first.
            url = self._client._url("/containers/{0}/archive", container)  # noqa: SLF001
            answer = self._client.head(url, params={"path": path}, timeout=ANSWER)
            self._client._raise_for_status(answer)  # noqa: SLF001
            return look_of(answer.headers.get("X-Docker-Container-Path-Stat", ""))
        return None

    def put_archive(self, container: str, path: str, archive: Iterable[bytes]) -> None:
        with translated(f"write to {path} of a container"), self._patient():
            self._client.put_archive(container, path, _body(archive))

    def create_volume(self, labels: dict[str, str]) -> str:
        with translated("create a volume"):
            return str(self._client.create_volume(labels=labels)["Name"])

    def volumes(self, label: str) -> dict[str, dict[str, str]]:
        with translated("list its volumes"):
            listed = self._client.volumes(filters={"label": label})
        return {str(v["Name"]): dict(v.get("Labels") or {}) for v in listed.get("Volumes") or ()}

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(MissingError), translated("remove a volume"):
            self._client.remove_volume(name, force=True)

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _stream(self, what: str, begin: Callable[[], Any]) -> Iterator[Iterator[bytes]]:
        """Bytes as they come; what fails on the way is translated where they are read."""
        with translated(what), self._patient():
            chunks = begin()
        try:
            yield _reading(what, chunks)
        finally:
            # A stream that was not read to its end is cut here, and its connection with it.
            with contextlib.suppress(Exception):
                chunks.close()
            response = getattr(chunks, "_response", None)
            if response is not None:
                response.close()

    @contextlib.contextmanager
    def _patient(self) -> Iterator[None]:
        before, self._client.timeout = self._client.timeout, SILENCE
        try:
            yield
        finally:
            self._client.timeout = before


def _close(connection: Any) -> None:
    """Close a connection that was taken over from HTTP: whoever still reads from it sees an end."""
    with contextlib.suppress(OSError):
        getattr(connection, "_sock", connection).shutdown(socket.SHUT_RDWR)
    response = getattr(connection, "_response", None)
    if response is not None:
        response.close()
    connection.close()


def _reading(what: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    with translated(what):
        yield from chunks


def _body(archive: Iterable[bytes]) -> Iterator[bytes]:
    # requests sends an iterator chunk by chunk, and a chunk of no bytes would end the body.
    return (chunk for chunk in archive if chunk)


def _device_request(gpus: GpuRequest) -> docker.types.DeviceRequest:
    """What `docker run --gpus` asks. Engine API, DeviceRequest: a number, or names."""
    which = {"device_ids": list(gpus.ids)} if gpus.ids else {"count": gpus.count}
    return docker.types.DeviceRequest(driver="", capabilities=[["gpu"]], **which)
