"""The page in a browser: accessible in both schemes, on any width, silent, and not blank."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Page, browser
from support.reports import FACTS, poisoned

from mllock.report.page import page


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(FACTS), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "hostile.html"
    path.write_text(page(poisoned(FACTS)), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(tab: Page, url: str, scheme: str) -> None:
    tab.open(url, scheme=scheme)
    # What is folded away is looked at as well.
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert tab.violations() == []


def test_what_is_not_accessible_would_be_seen(tab: Page, url: str) -> None:
    tab.open(url)
    tab.run("document.documentElement.removeAttribute('lang')")
    tab.run("document.querySelector('svg').removeAttribute('aria-labelledby')")
    tab.run("document.querySelector('svg title').remove()")
    tab.run("document.querySelector('svg desc').remove()")
    rules = {line.split(": ")[0] for line in tab.violations()}
    assert {"html-has-lang", "svg-img-alt"} <= rules


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_any_width(tab: Page, url: str, width: int) -> None:
    """Nothing but tables and commands scrolls sideways, and these by keyboard too."""
    tab.open(url, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert (
        tab.run(
            "[...document.querySelectorAll('*')].filter("
            "one => one.scrollWidth > one.clientWidth + 1"
            " && ['auto', 'scroll'].includes(getComputedStyle(one).overflowX)"
            " && one.tabIndex !== 0).length"
        )
        == 0
    )


def lit(png: bytes) -> tuple[int, int, float]:
    """Width, height, and the part of its bytes that is not as the byte to the left or above: of
    one colour, none are (PNG, "Filtering": a filter takes away what is alike)."""
    width, height = struct.unpack(">II", png[16:24])
    data, place = b"", 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    rows = zlib.decompress(data)
    return width, height, sum(byte != 0 for byte in rows) / len(rows)


def test_a_picture(tab: Page, url: str, tmp_path: Path) -> None:
    tab.open(url, width=1000, height=800)
    width, height, part = lit(tab.screenshot())
    assert (width, height) == (1000, 800)
    assert part > 0.01
    heights = lit(tab.screenshot(whole=True))[1]
    assert heights > 2000
    blank = tmp_path / "blank.html"
    blank.write_text("<!DOCTYPE html><title>blank</title>")
    tab.open(blank.as_uri(), width=1000, height=800)
    assert lit(tab.screenshot())[2] < 0.01  # a blank page would have been seen
    # The scheme is the reader's.
    tab.open(url, scheme="dark")
    dark = tab.run("getComputedStyle(document.body).backgroundColor")
    tab.open(url, scheme="light")
    assert dark != tab.run("getComputedStyle(document.body).backgroundColor")


def test_every_part_is_reached_by_keyboard(tab: Page, url: str) -> None:
    tab.open(url)
    for kind in ("keyDown", "keyUp"):
        tab.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.run("document.activeElement.className") == "skip"
    links = tab.run(
        "[...document.querySelectorAll('a')].map(one => one.getAttribute('href'))"
        ".filter(place => document.querySelector(place) === null)"
    )
    assert links == []


@pytest.mark.parametrize("which", ["url", "hostile"])
def test_nothing_leaves_and_nothing_runs(
    tab: Page, which: str, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue(which)
    tab.open(address)
    assert tab.requested == [address]
    assert tab.said == []
    assert tab.run("[document.scripts.length, typeof hit, document.images.length]") == [
        0,
        "undefined",
        0,
    ]
    # All of the style is there: the policy names the one that the page has.
    assert tab.run("getComputedStyle(document.querySelector('.facts')).display") == "grid"


def test_the_policy_holds_where_an_escape_would_not(tab: Page, tmp_path: Path) -> None:
    """Markup put into the page by hand, as if escaping had failed once; and the same page without
    its policy, which asks for the picture."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        bad = (
            f"<script>hit=1</script><img src='{place}/x' onerror='hit=1'>"
            "<style>body{display:none}</style>"
            f"<link rel=stylesheet href='{place}/y'><iframe src='{place}/z'></iframe>"
        )
        html = page(FACTS).replace("<footer>", f"{bad}<footer>")
        path = tmp_path / "broken.html"
        path.write_text(html, encoding="utf-8")
        tab.open(path.as_uri())
        assert tab.run("typeof hit") == "undefined"
        assert tab.run("getComputedStyle(document.body).display") == "block"
        assert tab.said != []
        with pytest.raises(BlockingIOError):
            server.accept()
        path.write_text(html.replace("Content-Security-Policy", "x"), encoding="utf-8")
        tab.ask("Page.navigate", url=path.as_uri())
        server.settimeout(30)
        server.accept()[0].close()
