"""Requirements: one canonical text, and files read as pip reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from support.corpus import BASE

from mllock.errors import SpecError
from mllock.spec.reader import parse_spec
from mllock.spec.requirements import canonical, declared

FILES = 'requirements = ["requirements.in"]\nconstraints = ["constraints.txt"]'


def project(folder: Path, text: str = FILES, **files: str):
    for name, content in {"constraints.txt": "", **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return declared(folder, parse_spec(f"{BASE}\n{text}\n".encode(), folder / "mlproject.toml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Scikit_Learn", "scikit-learn"),
        (" pandas >=2 , <3 ", "pandas<3,>=2"),
        ("uvicorn[Standard,a]>=1", "uvicorn[a,standard]>=1"),
        ("tomli ; python_version<'3.11'", 'tomli; python_version < "3.11"'),
        ("a(>=1)", "a>=1"),
    ],
)
def test_canonical(text: str, expected: str):
    assert canonical(text) == expected


@given(
    st.sampled_from(["A", "a.b", "A__b", "x-1"]),
    st.sets(st.sampled_from(["S", "t_u", "v"])),
    st.lists(st.sampled_from([">=1", "<2", "!=1.5", "~=1.0"]), max_size=3),
    st.sampled_from(["", "; python_version >= '3.8'", ";sys_platform=='linux' and os_name=='x'"]),
    st.sampled_from(["", " "]),
)
def test_canonical_is_stable_and_means_the_same(name, extras, specifiers, marker, space):
    text = f"{name}{space}[{','.join(extras)}]{space}{','.join(specifiers)}{space}{marker}"
    once = canonical(text)
    assert canonical(once) == once
    assert Requirement(once).specifier == Requirement(text).specifier
    assert Requirement(once).marker == Requirement(text).marker


def test_files_are_merged_sorted_and_without_duplicates(tmp_path):
    found = project(
        tmp_path,
        'dependencies = ["b", "A>=1"]\n' + FILES,
        **{
            "requirements.in": "# x\n\na >= 1  # same\nC \\\n  <2\n-r more/x.txt\n-c c.txt",
            "more__x.txt": "\ufeffd\n--constraint=../c.txt\n-r../requirements.in\n",
            "c.txt": "e==1",
            "constraints.txt": "Numpy<2\nnumpy <2\n",
        },
    )
    assert found.requirements == ("a>=1", "b", "c<2", "d")
    assert found.constraints == ("e==1", "numpy<2")


def test_what_a_constraints_file_includes_is_a_constraint(tmp_path):
    found = project(
        tmp_path, **{"requirements.in": "a", "constraints.txt": "-r a.txt", "a.txt": "b<1"}
    )
    assert found == type(found)(requirements=("a",), constraints=("b<1",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a\n\nb = 1\n",
            ("requirements.in:3: not a requirement: expected semicolon (after name with no version "
            'specifier) or end\nexpected: PEP 508, e.g. "pandas>=2,<3"\nfound: b = 1'),
        ),
        (
            "--index-url https://example.org\n",
            ("requirements.in:1: this option of pip's is not read here\n"
            "expected: PEP 508 requirements, comments, -r FILE, -c FILE and --find-links FOLDER\n"
            "found: --index-url\n"
            "hint: name it in [[environment.indexes]]; an index for all projects of this machine "
            "is said in pip's settings (PIP_INDEX_URL or pip.conf)"),
        ),
        (
            "a==1 \\\n  --hash=sha256:00\n",
            ("requirements.in:1: this option of pip's is not read here\n"
            "expected: PEP 508 requirements, comments, -r FILE, -c FILE and --find-links FOLDER\n"
            "found: --hash\n"
            "hint: mlproject.lock holds the hashes; leave them out here"),
        ),
        (
            "-e .\n",
            ("requirements.in:1: this option of pip's is not read here\n"
            "expected: PEP 508 requirements, comments, -r FILE, -c FILE and --find-links FOLDER\n"
            "found: -e\n"
            "hint: of the project's own package write requirements = [\"pyproject.toml\"] in "
            "[environment]: its code needs no installation; a wheel of another is put into a "
            "folder that find-links names"),
        ),
        ("a\n-r gone.txt", "requirements.in:2: no such file\nfound: gone.txt"),
        (
            "-r ../other.txt",
            "requirements.in:1: this file is outside of the project\nfound: ../other.txt",
        ),
        ("-r /etc/passwd", ("requirements.in:1: this file is outside of the project\n"
            "found: /etc/passwd")),
        (
            "-c constraints-with-extras.txt",
            ("constraints-with-extras.txt:1: a constraint cannot have extras\n"
            'found: a[b]<1\nhint: write "a" without them'),
        ),
        (
            "a @ file:///srv/a.whl",
            ("requirements.in:1: not a requirement: a file of one machine: put it into a folder "
            'that find-links names\nexpected: PEP 508, e.g. "pandas>=2,<3"\n'
            "found: a @ file:///srv/a.whl"),
        ),
        (
            "a @ https://me:pw@example.org/a-1-py3-none-any.whl",
            ("requirements.in:1: not a requirement: credentials in a URL: put them in netrc, or "
            'write ${NAME}\nexpected: PEP 508, e.g. "pandas>=2,<3"\n'
            "found: a @ https://***@example.org/a-1-py3-none-any.whl"),
        ),
        (
            "-c c.txt",
            ("c.txt:1: a constraint cannot be a URL\n"
            "found: a @ https://example.org/a-1-py3-none-any.whl\n"
            'hint: write "a @ https://example.org/a-1-py3-none-any.whl" into dependencies, if the '
            "project needs it"),
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, content: str, message: str):
    files = {"requirements.in": content, "constraints-with-extras.txt": "a[b]<1"}
    files["c.txt"] = "a @ https://example.org/a-1-py3-none-any.whl"
    with pytest.raises(SpecError) as caught:
        project(tmp_path, **files)
    assert str(caught.value) == message


def test_a_file_that_is_not_there_is_an_error_of_the_spec(tmp_path):
    with pytest.raises(SpecError) as caught:
        project(tmp_path)
    assert str(caught.value) == (
        "mlproject.toml:5: environment.requirements[0]: no such file\nfound: requirements.in"
    )


def test_a_link_to_itself_is_no_file(tmp_path):
    (tmp_path / "requirements.in").symlink_to("requirements.in")
    with pytest.raises(SpecError) as caught:
        project(tmp_path)
    assert str(caught.value) == (
        "mlproject.toml:5: environment.requirements[0]: no such file\nfound: requirements.in"
    )


def test_a_link_out_of_the_project_is_refused(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("a")
    (inside / "requirements.in").symlink_to("../secret.txt")
    with pytest.raises(SpecError) as caught:
        project(inside)
    assert str(caught.value) == (
        "mlproject.toml:5: environment.requirements[0]: this file is outside of the project\n"
        "found: requirements.in"
    )


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "requirements.in").write_bytes(b"a\n\xff\n")
    with pytest.raises(SpecError) as caught:
        project(tmp_path)
    assert str(caught.value) == "requirements.in:2: not UTF-8"


def test_a_comment_may_stand_between_continued_lines(tmp_path):
    assert project(tmp_path, **{"requirements.in": "a \\\n# why\nb\\"}).requirements == ("a", "b")
