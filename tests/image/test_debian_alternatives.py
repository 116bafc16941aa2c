from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.debian import make_deb, on_disk

from mllock.errors import ArchiveError
from mllock.image.debian import base_nodes, system_nodes
from mllock.image.debian_alternatives import read_group, write_group
from mllock.image.tree import Node, Stored
from mllock.lock.debian.scripts import Alternative

BLAS = "/usr/lib/x86_64-linux-gnu"


def blas(name: str, priority: int, link: str = f"{BLAS}/libblas.so.3") -> bytes:
    path = f"{BLAS}/{name}/libblas.so.3"
    script = f"#!/bin/sh\nupdate-alternatives --install {link} libblas {path} {priority}\n"
    return make_deb(
        name,
        files={f"usr/lib/x86_64-linux-gnu/{name}/libblas.so.3": b"x"},
        scripts={"postinst": script},
    )


def nodes_of(
    folder: Path, *names: str, below: dict[str, Node] | None = None, **debs: bytes
) -> dict[str, Node]:
    pairs = [on_disk(folder, deb, name) for name, deb in debs.items()]
    nodes = base_nodes(pairs) if below is None else system_nodes(pairs, below)
    return {node.path: node for node in nodes}


def test_the_highest_priority_wins_and_the_choice_is_recorded(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, reference=blas("reference", 10), openblas=blas("openblas", 100))
    link = nodes["usr/lib/x86_64-linux-gnu/libblas.so.3"]
    assert link.target == "/etc/alternatives/libblas"
    assert nodes["etc/alternatives/libblas"].target == f"{BLAS}/openblas/libblas.so.3"
    record = nodes["var/lib/dpkg/alternatives/libblas"].content
    assert isinstance(record, Stored)
    assert record.data == (
        f"auto\n{BLAS}/libblas.so.3\n\n{BLAS}/openblas/libblas.so.3\n100\n"
        f"{BLAS}/reference/libblas.so.3\n10\n\n".encode()
    )


def test_among_equals_the_path_that_sorts_first(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, b=blas("b", 10), a=blas("a", 10))
    assert nodes["etc/alternatives/libblas"].target == f"{BLAS}/a/libblas.so.3"


def test_a_system_package_competes_with_those_of_the_base(tmp_path: Path) -> None:
    below = nodes_of(tmp_path, reference=blas("reference", 10))
    above = nodes_of(tmp_path, below=below, openblas=blas("openblas", 100))
    assert above["etc/alternatives/libblas"].target == f"{BLAS}/openblas/libblas.so.3"
    lower = nodes_of(tmp_path, below=below, slow=blas("slow", 1))
    assert lower["etc/alternatives/libblas"].target == f"{BLAS}/reference/libblas.so.3"


def test_slaves_follow_if_their_file_is_there(tmp_path: Path) -> None:
    script = (
        "#!/bin/sh\nupdate-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5"
        " --slave /usr/bin/nawk nawk /usr/bin/mawk"
        " --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz\n"
        "update-alternatives --install /usr/share/man/x x /usr/share/man/y 1\n"
    )
    deb = make_deb("mawk", files={"usr/bin/mawk": b"x"}, scripts={"postinst": script})
    nodes = nodes_of(tmp_path, mawk=deb)
    links = [path for path in nodes if path.startswith("etc/alternatives/")]
    assert links == ["etc/alternatives/awk", "etc/alternatives/nawk"]
    assert nodes["usr/bin/nawk"].target == "/etc/alternatives/nawk"


def test_packages_that_disagree(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        nodes_of(tmp_path, a=blas("a", 1), b=blas("b", 2, link="/usr/lib/other"))
    assert str(caught.value) == (
        'packages disagree about the alternative "libblas"\n'
        f"found: /usr/lib/other, {BLAS}/libblas.so.3"
    )
    with pytest.raises(ArchiveError) as caught:
        nodes_of(tmp_path, a=blas("a", 1, link=f"{BLAS}/a/libblas.so.3"))
    assert caught.value.message == 'the alternative "libblas" would replace a file'


PATHS = st.text("abc./-", min_size=1, max_size=8).map(lambda text: "/" + text)
NAMES = st.text("xyz", min_size=1, max_size=3)


@given(
    st.dictionaries(PATHS, st.integers(-5, 100), min_size=1, max_size=3),
    st.dictionaries(NAMES, PATHS, max_size=3),
    st.data(),
)
def test_a_record_is_read_back(paths: dict[str, int], slaves: dict[str, str], draw) -> None:
    group = tuple(
        Alternative(
            name="n",
            link="/link",
            path=path,
            priority=priority,
            slaves=tuple(
                (name, slaves[name], draw.draw(PATHS))
                for name in sorted(slaves)
                if number == 0 or draw.draw(st.booleans())
            ),
        )
        for number, (path, priority) in enumerate(sorted(paths.items()))
    )
    assert read_group("n", write_group(group)) == group
