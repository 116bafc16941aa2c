"""`NAME @ URL`: what a spec may hold, and what it names."""

from __future__ import annotations

import pytest

from mllock.spec.direct import parse_reference, reference_in
from mllock.spec.requirements import canonical

SHA = "0" * 64


@pytest.mark.parametrize(
    ("text", "kind", "url", "revision", "subdirectory", "sha256"),
    [
        ("https://e.org/a-1-py3-none-any.whl", "wheel", "https://e.org/a-1-py3-none-any.whl",
         None, None, None),
        (f"http://${{U}}:${{P}}@e.org:8080/a.whl#sha256={SHA}", "wheel",
         "http://${U}:${P}@e.org:8080/a.whl", None, None, SHA),
        (f"https://e.org/a.tar.gz#subdirectory=x/y&sha256={SHA}", "archive",
         "https://e.org/a.tar.gz", None, "x/y", SHA),
        ("git+https://e.org/a/b.git", "git", "https://e.org/a/b.git", None, None, None),
        ("git+https://${T}@e.org/a@feature/x#subdirectory=p", "git", "https://${T}@e.org/a",
         "feature/x", "p", None),
        ("git+ssh://git@e.org/a@v1.0", "git", "ssh://git@e.org/a", "v1.0", None, None),
    ],
)  # fmt: skip
def test_what_it_names(text, kind, url, revision, subdirectory, sha256) -> None:
    found = parse_reference(text)
    assert (found.kind, found.url, found.revision) == (kind, url, revision)
    assert (found.subdirectory, found.sha256) == (subdirectory, sha256)
    assert str(found) == text
    plain = canonical(f"Some_Name[X] @ {text} ; python_version>'3'")
    assert plain == f'some-name[x] @ {text} ; python_version > "3"'
    assert canonical(plain) == plain
    assert reference_in(plain) == ("some-name", found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file:///srv/a.whl", "a file of one machine: put it into a folder that find-links names"),
        ("./a.whl", "a file of one machine: put it into a folder that find-links names"),
        ("https://u:p@e.org/a.whl", "credentials in a URL: put them in netrc, or write ${NAME}"),
        ("git+https://tok@e.org/a", "credentials in a URL: put them in netrc, or write ${NAME}"),
        ("git+ssh://u:p@e.org/a", "credentials in a URL: put them in netrc, or write ${NAME}"),
        ("https://e.org/a.whl#sha256=0", "not a sha256, 64 hexadecimal digits, of a file"),
        (f"git+https://e.org/a#sha256={SHA}", "not a sha256, 64 hexadecimal digits, of a file"),
        ("https://e.org/a.whl#egg=a",
         "of what stands behind #, only sha256= and subdirectory= are read"),
        ("https://e.org/a.tar.gz#subdirectory=../b", "not a subdirectory"),
        ("https://e.org/a.whl#subdirectory=b", "a wheel has no subdirectory"),
        ("git+https://e.org/a@--upload-pack=x", "not a branch, a tag or a commit"),
        ("git+https://e.org/a@x..y", "not a branch, a tag or a commit"),
    ],
)  # fmt: skip
def test_what_it_cannot_be(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_reference(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "text",
    ["ssh://e.org/a.whl", "git+file:///a", "hg+https://e.org/a", "https://e.org/a.rpm",
     "git://e.org/a", "https://e.org/a.whl?x=1", "https:///a.whl"],
)  # fmt: skip
def test_urls_of_no_known_kind(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected https://.*/NAME\.whl"):
        parse_reference(text)
