"""stub"""

from dataclasses import dataclass
from mllock.lock.debian.deb import Deb


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """update-alternatives --install LINK NAME PATH PRIORITY --slave LINK NAME PATH ..."""

    name: str
    link: str
    path: str
    priority: int
    slaves: tuple[tuple[str, str, str], ...] = ()  # (name, link, path)


def examine(deb: Deb) -> tuple[Alternative, ...]:
    return ()
