"""What mllock asks of a container engine. `mllock.engine.docker` is one.

Every method raises EngineError when the engine fails, refuses or is gone; what is not there is
None, never an exception. References and names go in as the user wrote them; what comes out names
things by digest or id, and callers use those from then on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from mllock.engine.types import Change, Container, ContainerPlan, EngineImage, EngineInfo, Look

__all__ = ["Engine"]


class Engine(Protocol):
    """Images and containers of one engine."""

    @property
    def info(self) -> EngineInfo: ...

    def image(self, reference: str) -> EngineImage | None: ...

    def images(self) -> Iterator[EngineImage]:
        """All that have a tag or are used; in no order. Each is asked for when it is its turn."""

    def load(self, archive: Iterable[bytes]) -> None:
        """Take a docker-archive, e.g. that of `mllock.store.docker_archive`."""

    def tag(self, image: str, reference: str) -> None: ...

    def untag(self, reference: str) -> None:
        """Remove a tag, and the image if that was its last one; one that is missing is fine."""

    def build(self, context: Iterator[bytes], tag: str, target: str) -> Generator[str, None, None]:
        """Build the stage `target` of a context (a tar with a Dockerfile), without network, as
        `tag`; what the builder prints, line by line. Closed before its end, the engine gives up."""

    def remove_built(self, label: str, keep: str | None = None) -> None:
        """Remove containers and images with a label ("name=value") that builds have left; not the
        image `keep`, and not what others stand on."""

    def save(self, image: str) -> AbstractContextManager[Iterator[bytes]]:
        """The image as a docker-archive."""

    def create(self, plan: ContainerPlan) -> str:
        """A container that does not run yet; its id."""

    def start(self, container: str) -> None: ...

    def output(self, container: str) -> AbstractContextManager[Iterator[bytes]]:
        """Standard output and error of a started container: from its beginning, as they come, until
        it ends."""

    def attached(self, container: str) -> AbstractContextManager[Iterator[bytes]]:
        """Standard output and error of a container that is to be started in the block: each byte as
        it comes, whole lines or not. `output` has it by lines, from the engine's log."""

    def wait(self, container: str) -> Container:
        """When it has ended: how."""

    def kill(self, container: str, signal: int) -> None:
        """One that has ended is fine."""

    def stop(self, container: str, grace: int) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""

    def remove(self, container: str) -> None:
        """With its anonymous volumes, running or not; one that is missing is fine."""

    def container(self, name: str) -> Container | None:
        """By id or name."""

    def containers(self, label: str) -> tuple[Container, ...]:
        """All with a label ("name" or "name=value"), running or not."""

    def changes(self, container: str) -> tuple[Change, ...]: ...

    def export(self, container: str) -> AbstractContextManager[Iterator[bytes]]:
        """The merged tree of a container's layers as a tar, without what is mounted over it."""

    def archive(self, container: str, path: str) -> AbstractContextManager[Iterator[bytes]] | None:
        """A file or folder as a tar, mounts included; None if there is no such path."""

    def look(self, container: str, path: str) -> Look | None:
        """At a path, mounts included; None if there is no such path."""

    def put_archive(self, container: str, path: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar into the folder `path`."""

    def create_volume(self, labels: dict[str, str]) -> str:
        """A new volume; its name."""

    def volumes(self, label: str) -> Mapping[str, Mapping[str, str]]:
        """All with a label ("name" or "name=value"): name -> labels."""

    def remove_volume(self, name: str) -> None:
        """One that is missing is fine."""

    def close(self) -> None: ...
