"""Remote data sources in the spec: what is refused, and that nothing secret is ever shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fsspec.registry import _registry
from support.corpus import BASE
from support.reporter import Recorder

from mllock.errors import InputError, SpecError
from mllock.spec.reader import parse_spec
from mllock.spec.sources import is_remote, problem, shown
from mllock.store.remote.connect import opener

KNOWN = 'https://, s3://, gs://, az:// or hf://, e.g. "s3://bucket/folder"'
NETRC = "put them in netrc, or write ${NAME} to take them from the environment"
TOOLS = "put them where the store's own tools find them: variables or files of the user"
SIGNED = (
    "it would be in the lock, and end some day: name the file without it, with credentials in "
    "netrc, or as s3://, gs:// or az://"
)
FOLDER = "name a file, one source for each; or a folder of a store: s3://, gs://, az://"


def load(source: str):
    text = f'{BASE}\n[data.a]\nsource = "{source}"\npath = "a"\n'
    return parse_spec(text.encode(), Path("mlproject.toml"))


@pytest.mark.parametrize("source", ["https://e.org/x", "s3://b/k", "gcs+x://b", "hf://d"])
def test_remote(source: str) -> None:
    assert is_remote(source)


@pytest.mark.parametrize("source", ["data/x", "a:b", "://x", "a b://x"])
def test_not_remote(source: str) -> None:
    assert not is_remote(source)


@pytest.mark.parametrize(
    "source",
    [
        "https://example.org/a.csv",
        "http://127.0.0.1:8080/a%20b.csv?version=3",
        "https://[::1]:8080/a.csv",
        "https://${WHO}:${WORD}@example.org/a.csv",
        "https://${TOKEN}@example.org/a.csv",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a b/c#d.csv",
        "gs://bucket/key",
        "az://container/key/",
        "hf://datasets/owner/name@refs/file.parquet",
    ],
)
def test_taken(source: str) -> None:
    assert load(source).spec.data["a"].source == source


@pytest.mark.parametrize(
    ("source", "message", "expected", "found", "hint"),
    [
        ("https://ada:word@e.org/a", "credentials in a URL", None, "https://e.org/a", NETRC),
        ("https://ada@e.org/a", "credentials in a URL", None, "https://e.org/a", NETRC),
        ("https://${A}:word@e.org/a", "credentials in a URL", None, "https://e.org/a", NETRC),
        ("s3://id:word@b/a", "credentials in a URL", None, "s3://b/a", TOOLS),
        ("az://word@b/a", "credentials in a URL", None, "az://b/a", TOOLS),
        *(
            (
                f"https://e.org/a?x=1&{name}=word",
                f"a signature or password in the query of a URL ({name})",
                None,
                "https://e.org/a?...",
                SIGNED,
            )
            for name in (
                "X-Amz-Signature",
                "x-amz-security-token",
                "X-Goog-Signature",
                "Signature",
                "sig",
                "token",
                "access_token",
                "api_key",
                "AWSAccessKeyId",
                "password",
            )
        ),
        ("gcs://b/k", "gcs:// is gs:// here", None, "gcs://b/k", 'write "gs://..."'),
        ("s3a://b/k", "s3a:// is s3:// here", None, "s3a://b/k", 'write "s3://..."'),
        ("abfss://b/k", "abfss:// is az:// here", None, "abfss://b/k", 'write "az://..."'),
        ("S3://b/k", "not a protocol that mllock reads", KNOWN, "S3://b/k", 'write "s3://..."'),
        ("ftp://e.org/a", "not a protocol that mllock reads", KNOWN, "ftp://e.org/a", None),
        (
            "file:///etc/passwd",
            "not a protocol that mllock reads",
            KNOWN,
            "file:///etc/passwd",
            "write the path, relative to the project",
        ),
        ("https:///a", "a URL without a host", KNOWN, "https:///a", None),
        ("https://e.org:port/a", "a URL without a host", KNOWN, "https://e.org:port/a", None),
        ("s3:///a", "a URL without a bucket", KNOWN, "s3:///a", None),
        ("az:///a", "a URL without a container", KNOWN, "az:///a", None),
        (
            "https://e.org/",
            "http has no list of files, so a folder cannot be a source",
            None,
            "https://e.org",
            FOLDER,
        ),
        (
            "https://e.org/data/",
            "http has no list of files, so a folder cannot be a source",
            None,
            "https://e.org/data/",
            FOLDER,
        ),
        ("https://e.org/a b", "not a URL", None, "https://e.org/a b", 'write a space as "%20"'),
        (
            "https://e.org/a#b",
            'a URL with a fragment ("#")',
            None,
            "https://e.org/a",
            "leave out what follows it",
        ),
        (
            "s3://b/data/2026*/*.csv",
            "a pattern in a URL",
            None,
            "s3://b/data/2026*/*.csv",
            'write source = "s3://b/data/" and include = ["2026*/*.csv"]',
        ),
        (
            "s3://b/../c",
            "an empty component in a URL, or one that is . or ..",
            None,
            "s3://b/../c",
            None,
        ),
        (
            "s3://b/a//c",
            "an empty component in a URL, or one that is . or ..",
            None,
            "s3://b/a//c",
            None,
        ),
    ],
)
def test_refused(
    source: str, message: str, expected: str | None, found: str, hint: str | None
) -> None:
    with pytest.raises(SpecError) as caught:
        load(source)
    lines = [f"mlproject.toml:6: data.a.source: {message}"]
    lines += [f"expected: {expected}"] if expected else []
    lines += [f'found: "{found}"']
    lines += [f"hint: {hint}"] if hint else []
    assert str(caught.value) == "\n".join(lines)
    assert "word" not in str(caught.value).replace("password", "")


def test_a_very_long_one() -> None:
    found = problem("https://example.org/" + "a" * 5000)
    assert found is not None
    assert found.message == "a URL of more than 4096 bytes"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://ada:word@e.org/a?b=c#d", "https://e.org/a?..."),
        ("https://e.org", "https://e.org"),
        ("s3://id:word@bucket/key?x", "s3://bucket/key?x"),
        ("https://a@b:word@e.org/x", "https://e.org/x"),
    ],
)
def test_shown(url: str, text: str) -> None:
    assert shown(url) == text


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_package_that_is_not_installed(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user without the extra sees: the import fails, as where it is not installed."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_registry, scheme, raising=False)
    with pytest.raises(ImportError):
        __import__(package)
    with pytest.raises(InputError) as caught:
        opener({}, Recorder())(f"{scheme}://bucket/key")
    assert str(caught.value) == (
        f"{scheme}:// needs a package that is not installed\n"
        f'hint: install it: pip install "mllock[{scheme}]"'
    )
