"""Projects of other tools, as they really look, and the mlproject.toml that is made of each."""

from __future__ import annotations

import pytest
from support.importing import CASES, CORPUS, files_of, found_in, golden_of, spec_of

from mllock.spec.reader import parse_spec

KINDS = (
    "bento",
    "cog",
    "conda",
    "dockerfile",
    "dvc",
    "mlproject",
    "pdm-lock",
    "poetry-lock",
    "pylock",
    "pyproject",
    "requirements-in",
    "requirements-txt",
    "uv-lock",
)


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_of_it(case, golden):
    golden(CORPUS / f"{case}.golden", golden_of(case))


@pytest.mark.parametrize("kind", KINDS)
def test_five_real_shapes_of_each(kind):
    assert len([case for case in CASES if case.startswith(f"{kind}/")]) >= 5


@pytest.mark.parametrize("case", CASES)
def test_the_result_reads_and_asks_for_nothing_that_is_not_there(case, tmp_path):
    found = found_in(files_of(case), folder=case.startswith("folder/"))
    parse_spec(spec_of(found), tmp_path / "mlproject.toml")


SECRETS = (
    "s3cr3t", "s3cret", "hunter2", "glpat-", "oauth2:", "abcdef", "user:pw", "me:pw", "token:x",
    "hf_abc", "u:p@", "tk-12345678",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_credential_is_written_or_shown(case):
    text = golden_of(case).decode()
    assert [secret for secret in SECRETS if secret in text] == []


def test_the_corpus_has_credentials_to_lose():
    everything = b"".join(b"".join(files_of(case).values()) for case in CASES).decode()
    assert [secret for secret in SECRETS if secret not in everything] == []
