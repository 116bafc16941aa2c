"""What a TARGET means."""

from __future__ import annotations

import pytest
from support.layers import HandMade

from mllock.check.targets import parse_target
from mllock.errors import InputError, NotAvailableError

HINT = (
    "path:DIR for a model folder, oci:DIR for an image layout, registry:HOST/REPO:TAG for an image "
    "of a registry, image:REF or container:NAME for what is in the container engine"
)


@pytest.fixture
def base(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_text("x")
    HandMade(tmp_path / "oci")
    (tmp_path / "image:v1").mkdir()
    (tmp_path / "link").symlink_to("model")
    (tmp_path / "filelink").symlink_to("model/w")
    (tmp_path / "way").symlink_to(".")
    (tmp_path / "layout.tar").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "path", "ref", "chosen"),
    [
        ("path:model", "path", "model", None, "the folder {}/model"),
        ("model", "path", "model", None, "the folder {}/model"),
        ("model/w", "path", "model/w", None, "the file {}/model/w"),
        ("way/model", "path", "model", None, "the folder {}/model"),
        ("path:way/model/w", "path", "model/w", None, "the file {}/model/w"),
        ("oci:way/oci", "oci", "oci", "serve", 'the image "serve" of the OCI layout {}/oci'),
        ("oci:oci", "oci", "oci", "serve", 'the image "serve" of the OCI layout {}/oci'),
        ("oci", "oci", "oci", "serve", 'the image "serve" of the OCI layout {}/oci'),
        ("oci:oci:v1", "oci", "oci", "v1", 'the image "v1" of the OCI layout {}/oci'),
        ("path:oci", "path", "oci", None, "the folder {}/oci"),
        ("path:image:v1", "path", "image:v1", None, "the folder {}/image:v1"),
    ],
)
def test_targets(base, text, kind, path, ref, chosen):
    target = parse_target(text, base)
    assert (target.kind, target.path, target.ref) == (kind, base / path, ref)
    assert target.chosen == chosen.format(base)


@pytest.mark.parametrize(
    ("text", "kind", "ref", "guessed"),
    [
        ("image:wine:serve", "image", "wine:serve", False),
        # A folder of this name is beside it: a prefix says what is meant.
        ("image:v1", "image", "v1", False),
        ("container:wine-1", "container", "wine-1", False),
        ("wine:latest", "image", "wine:latest", True),
        ("example.org:5000/team/wine@sha256:00", "image", None, True),
    ],
)
def test_targets_of_an_engine(base, text, kind, ref, guessed):
    target = parse_target(text, base)
    assert (target.kind, target.ref, target.guessed) == (kind, ref or text, guessed)
    assert target.chosen == f"the {kind} {ref or text} of the container engine"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("http://localhost:8080/a/", "the endpoint http://localhost:8080/a"),
        ("https://example.org", "the endpoint https://example.org"),
    ],
)
def test_endpoints(base, text, chosen):
    target = parse_target(text, base)
    assert (target.kind, target.chosen) == ("http", chosen)


@pytest.mark.parametrize(
    "text",
    ["k8s://a/b/c"],
)
def test_targets_of_later(base, text):
    with pytest.raises(NotAvailableError) as caught:
        parse_target(text, base)
    assert str(caught.value) == (
        f'{text}: targets "{text.partition(":")[0]}:" are not available in this version\n'
        f"hint: {HINT}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path:no", "{}/no: no such file or folder"),
        (
            "path:",
            "path:: no file or folder is named\nexpected: path:DIR or path:FILE",
        ),
        ("oci:no", "{}/no: no such folder\nexpected: an OCI layout"),
        ("oci:no:v1", "{}/no: no such folder\nexpected: an OCI layout"),
        (
            "oci:layout.tar",
            "{}/layout.tar: archives of a layout are not available in this version\n"
            "hint: unpack it into a folder, and check that",
        ),
        ("./wine", f"./wine: no such file or folder\nhint: {HINT}"),
        ("", f"no such file or folder\nhint: {HINT}"),
        ("wine/../x", f"wine/../x: no such file or folder\nhint: {HINT}"),
        (
            "image:no such",
            "image:no such: not the name of an image\n"
            "expected: image:NAME as the docker command takes it",
        ),
        (
            "container:",
            "container:: not the name of a container\n"
            "expected: container:NAME as the docker command takes it",
        ),
        (
            "http:8080",
            "not an address\nexpected: http://HOST:PORT or https://HOST\nfound: http:8080",
        ),
    ],
)
def test_targets_that_are_not_there(base, text, message):
    with pytest.raises(InputError) as caught:
        parse_target(text, base)
    assert str(caught.value) == message.format(base)


@pytest.mark.parametrize(
    ("text", "ref", "chosen"),
    [
        ("example.org/a:v1", "v1", "the image example.org/a:v1 of a registry"),
        ("example.org/a", "serve", "the image example.org/a:serve of a registry"),
        (f"example.org/a@sha256:{'0' * 64}", f"sha256:{'0' * 64}",
         f"the image example.org/a@sha256:{'0' * 64} of a registry"),
    ],
)  # fmt: skip
def test_a_registry(base, text, ref, chosen):
    (base / "registry:example.org").mkdir()  # a path of that name is not meant
    target = parse_target(f"registry:{text}", base)
    assert (target.kind, target.ref, target.chosen) == ("registry", ref, chosen)
    assert str(target.reference).startswith(text)


@pytest.mark.parametrize(
    ("text", "leads_to", "real"),
    [
        ("link", "model", "model"),
        ("path:link", "model", "model"),
        ("path:link/", "model", "model"),
        ("path:way/link", "model", "model"),
        ("path:filelink", "model/w", "model/w"),
    ],
)
def test_a_model_that_is_a_link(base, text, leads_to, real):
    """What it leads to may be another one tomorrow, and is another one than was named."""
    with pytest.raises(InputError) as caught:
        parse_target(text, base)
    place = base / text.removeprefix("path:")
    assert str(caught.value) == (
        f"{place}: a link where a model is expected\nfound: a link to {leads_to}\n"
        f"hint: name what it leads to: path:{base}/{real}"
    )


@pytest.mark.parametrize("outside", [False, True])
def test_a_run_that_is_a_link(base, outside):
    runs = base / ".mllock" / "runs"
    if outside:
        (base / "big").mkdir()
        (base / ".mllock").symlink_to("big")
    (runs / "one" / "model").mkdir(parents=True)
    (runs / "two").symlink_to("one")
    assert parse_target("path:.mllock/runs/one/model", base).path == runs.resolve() / "one/model"
    with pytest.raises(InputError) as caught:
        parse_target("path:.mllock/runs/two/model", base)
    assert str(caught.value) == (
        f"{runs}/two: a link inside of a run\nfound: a link to one\n"
        f"hint: name what it leads to: path:{runs.resolve()}/one/model"
    )


@pytest.mark.parametrize("name", ["weights.bin", "manifest.json", "sub"])
def test_a_layout_with_other_files_could_be_both(base, name):
    """A good image, laid into the folder of a model, must not be what is checked."""
    (base / "oci" / name).mkdir()
    with pytest.raises(InputError) as caught:
        parse_target("oci", base)
    assert str(caught.value) == (
        f"{base}/oci: an OCI layout, and a folder with other files\nfound: {name}\n"
        "hint: say which is meant, path: or oci:, before it"
    )
    assert parse_target("path:oci", base).kind == "path"
    assert parse_target("oci:oci", base).kind == "oci"
