from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.universe import SHA, names, stanza, universe

from mllock.errors import IntegrityError, ResolutionError
from mllock.lock.debian.index import Index, Relation, Universe, parse_relations
from mllock.lock.debian.solve import solve


def run(
    offers: Universe,
    *asked: str,
    seeds: tuple[str, ...] = (),
    left_out: tuple[str, ...] = (),
    **pins: str,
) -> list[str]:
    solution = solve(offers, seeds=seeds, asked=asked, pins=pins, left_out=left_out)
    return names(solution)


def refused(offers: Universe, *asked: str, **pins: str) -> str:
    with pytest.raises(ResolutionError) as caught:
        run(offers, *asked, **pins)
    return str(caught.value)


def test_the_closure_in_two_layers() -> None:
    offers = universe(
        [
            stanza("base", Depends="libc (>= 1), shell"),
            stanza("libc", Pre_Depends="loader"),
            stanza("loader"),
            stanza("shell", Recommends="manual", Suggests="manual"),
            stanza("tool", Depends="libc, extra"),
            stanza("extra"),
            stanza("manual"),
        ]
    )
    assert run(offers, "tool", "shell", seeds=("base",)) == [
        "base 1",
        "libc 1",
        "loader 1",
        "shell 1",
        "+extra 1",
        "+tool 1",
    ]


def test_the_highest_version_of_all_pockets_unless_it_is_pinned() -> None:
    offers = universe(stanza("a", "1.0"), stanza("a", "1.0+deb12u2"), stanza("a", "1.0~rc1"))
    assert run(offers, "a") == ["+a 1.0+deb12u2"]
    assert run(offers, "a", a="1.0") == ["+a 1.0"]
    assert run(offers, "a", a="0.9") == ["+a 1.0+deb12u2"]


def test_packages_of_other_architectures_are_not_there() -> None:
    offers = universe([stanza("a", "2", Architecture="arm64"), stanza("a", Architecture="all")])
    assert run(offers, "a") == ["+a 1"]


def test_alternatives_and_virtual_packages() -> None:
    offers = universe(
        [
            stanza("a", Depends="absent | b | c"),
            stanza("b"),
            stanza("c"),
            stanza("mail", Depends="mta"),
            stanza("exim", Provides="mta, other"),
            stanza("new", Depends="api (>= 2)"),
            stanza("impl", Provides="api (= 2.1), plain"),
            stanza("older", Provides="api (= 1.9)"),
            stanza("old", Provides="api"),
            stanza("either", Depends="api (>= 3) | absent | mta | b"),
        ]
    )
    assert run(offers, "a") == ["+a 1", "+b 1"]
    # Something that was chosen already is preferred to the first alternative.
    assert run(offers, "a", seeds=("c",)) == ["c 1", "+a 1"]
    assert run(offers, "mail") == ["+exim 1", "+mail 1"]
    # A versioned relation is met by a versioned Provides only.
    assert run(offers, "new") == ["+impl 1", "+new 1"]
    assert run(offers, "either") == ["+either 1", "+exim 1"]
    assert run(offers, "either", "b") == ["+b 1", "+either 1"]


def test_several_providers_are_for_the_user_to_choose_from() -> None:
    texts = [
        stanza("mail", Depends="mta"),
        stanza("postfix", Provides="mta"),
        stanza("exim", Provides="mta"),
        # Two versions of one package are one choice.
        stanza("exim", "2", Provides="mta"),
        stanza("report", Depends="mail, text"),
        stanza("text", Depends="exim | postfix"),
        stanza("lists", Depends="mail | postfix"),
        stanza("nice", Depends="default-mta | mta"),
        stanza("default", Provides="default-mta", Depends="exim"),
        stanza("named", Depends="mta | postfix"),
    ]
    offers = universe(texts)
    assert refused(offers, "mail") == (
        "environment.system-packages: mail 1 depends on mta, which 2 packages provide\n"
        "expected: one of exim, postfix\n"
        "hint: add the one that you want to system-packages"
    )
    assert refused(offers, "lists") == (
        "environment.system-packages: mail 1 (lists -> mail) depends on mta, which 2 packages"
        " provide\n"
        "expected: one of exim, postfix\n"
        "hint: add the one that you want to system-packages"
    )
    assert run(offers, "mail", "postfix") == ["+mail 1", "+postfix 1"]
    assert run(offers, "mail", seeds=("postfix",)) == ["postfix 1", "+mail 1"]
    # Chosen for something else, and after the package that could have had either.
    assert run(offers, "report") == ["+exim 2", "+mail 1", "+report 1", "+text 1"]
    assert run(offers, "nice") == ["+default 1", "+exim 2", "+nice 1"]
    # The maintainer says which one; what is there already is still preferred.
    assert run(offers, "named") == ["+named 1", "+postfix 1"]
    assert run(offers, "named", "exim") == ["+exim 2", "+named 1"]
    # What was locked stays: nobody is asked again because another package is added.
    assert run(offers, "mail", "text", exim="2") == ["+exim 2", "+mail 1", "+text 1"]
    assert run(offers, "mail", postfix="1") == ["+mail 1", "+postfix 1"]
    assert run(offers, "text", postfix="1") == ["+postfix 1", "+text 1"]
    many = [stanza(f"p{number:02}", Provides="mta") for number in range(12)]
    assert "one of exim, p00, p01" in (message := refused(universe(texts + many), "mail"))
    assert ", p10 and 2 more\n" in message


def test_an_alternative_that_does_not_go_with_the_rest_makes_room_for_the_next() -> None:
    offers = universe(
        [
            stanza("app", Depends="first | second"),
            stanza("first", Conflicts="tool"),
            stanza("shy", Depends="first, tool"),
            stanza("second"),
            stanza("tool"),
            stanza("rude", Conflicts="second"),
            stanza("both", Depends="second | first, rude"),
        ]
    )
    assert run(offers, "app") == ["+app 1", "+first 1"]
    assert run(offers, "app", "tool") == ["+app 1", "+second 1", "+tool 1"]
    assert run(offers, "both") == ["+both 1", "+first 1", "+rude 1"]
    assert refused(offers, "app", "rude", "tool") == (
        "environment.system-packages: first 1 (app -> first) cannot be installed together with"
        " tool 1\n"
        "found: Conflicts or Breaks of first: tool\n"
        "hint: ask for only one of them in system-packages"
    )
    assert refused(offers, "shy") == (
        "environment.system-packages: first 1 (shy -> first) cannot be installed together with"
        " tool 1 (shy -> tool)\n"
        "found: Conflicts or Breaks of first: tool\n"
        "hint: ask for only one of them in system-packages"
    )


def test_multiarch_qualifiers() -> None:
    offers = universe(
        [
            stanza("a", Depends="python:any (>= 1), lib:amd64, data"),
            stanza("python", Multi_Arch="allowed"),
            stanza("lib", Multi_Arch="same"),
            stanza("data", Architecture="all", Multi_Arch="foreign"),
            stanza("foreign", Depends="lib:i386"),
            stanza("b", Depends="data:any"),
            stanza("c", Depends="shell:any"),
            stanza("dash", Multi_Arch="allowed", Provides="shell"),
            stanza("zsh", Provides="shell"),
            stanza("d", Depends="absent:any"),
        ]
    )
    assert run(offers, "a") == ["+a 1", "+data 1", "+lib 1", "+python 1"]
    # Policy of Multi-Arch: only a package that says "allowed" may be taken for NAME:any.
    assert run(offers, "c") == ["+c 1", "+dash 1"]
    assert refused(offers, "b") == (
        "environment.system-packages: b 1 depends on data:any, which no archive offers\n"
        "hint: data is not Multi-Arch: allowed, which :any asks for"
    )
    assert refused(offers, "d") == (
        "environment.system-packages: d 1 depends on absent:any, which no archive offers\n"
        "hint: are all pockets of the suite (updates, security) in the mirror that is set?"
    )
    assert refused(offers, "foreign") == (
        "environment.system-packages: foreign 1 depends on lib:i386, which no archive offers\n"
        "hint: an image has packages of one architecture, here amd64"
    )


def test_what_only_scripts_need_is_left_out_unless_asked_for() -> None:
    offers = universe(
        [
            stanza("a", Depends="debconf (>= 0.5) | debconf-2.0, b"),
            stanza("b"),
            stanza("debconf", Depends="perl"),
            stanza("perl"),
        ]
    )
    left_out = ("debconf", "debconf-2.0")
    assert run(offers, "a", left_out=left_out) == ["+a 1", "+b 1"]
    assert run(offers, "a", "debconf", left_out=left_out) == [
        "+a 1",
        "+b 1",
        "+debconf 1",
        "+perl 1",
    ]


def test_a_pin_gives_way_to_a_dependency() -> None:
    offers = universe(
        [stanza("lib", "1"), stanza("app", "1", Depends="lib (= 1)")],
        [stanza("lib", "2"), stanza("app", "2", Depends="lib (= 2)")],
    )
    assert run(offers, "app") == ["+app 2", "+lib 2"]
    assert run(offers, "app", app="1", lib="1") == ["+app 1", "+lib 1"]
    assert run(offers, "app", lib="1") == ["+app 2", "+lib 2"]
    assert run(offers, "app", app="1") == ["+app 1", "+lib 1"]


def test_an_older_version_is_taken_where_the_newest_cannot_be_satisfied() -> None:
    offers = universe([stanza("app", "2", Depends="absent"), stanza("app", "1")])
    assert run(offers, "app") == ["+app 1"]


def test_conflicts() -> None:
    offers = universe(
        [
            stanza("a", Conflicts="b"),
            stanza("b"),
            stanza("mta1", Provides="mta", Conflicts="mta"),
            stanza("mta2", Provides="mta", Conflicts="mta"),
            stanza("new", Breaks="lib (<< 2)"),
            stanza("lib", "1"),
            stanza("lib", "2"),
        ]
    )
    assert refused(offers, "a", "b") == (
        "environment.system-packages: a 1 cannot be installed together with b 1\n"
        "found: Conflicts or Breaks of a: b\n"
        "hint: ask for only one of them in system-packages"
    )
    assert refused(offers, "mta1", "mta2") == (
        "environment.system-packages: mta1 1 cannot be installed together with mta2 1\n"
        "found: Conflicts or Breaks of mta1: mta\n"
        "hint: ask for only one of them in system-packages"
    )
    assert run(offers, "mta1") == ["+mta1 1"]
    assert run(offers, "new", "lib", lib="1") == ["+lib 2", "+new 1"]


def test_names_that_do_not_exist() -> None:
    offers = universe(
        [
            stanza("libgomp1"),
            stanza("libgomp2"),
            stanza("postfix", Provides="mta, mda"),
            stanza("exim", Provides="mda"),
        ]
    )
    assert refused(offers, "libgomp") == (
        'environment.system-packages: no package "libgomp" in the archive\n'
        'hint: did you mean "libgomp2" or "libgomp1"?'
    )
    assert refused(offers, "quite-different") == (
        'environment.system-packages: no package "quite-different" in the archive\n'
        "hint: is it in the component main?"
    )
    assert refused(offers, "mta") == (
        'environment.system-packages: "mta" is a virtual package\nhint: name one of postfix'
    )
    assert refused(offers, "mda") == (
        'environment.system-packages: "mda" is a virtual package\nhint: name one of exim, postfix'
    )
    with pytest.raises(ResolutionError) as caught:
        run(offers, seeds=("base-files",))
    assert caught.value.message == 'no package "base-files" in the archive (the base needs it)'


@pytest.mark.parametrize(
    ("relation", "version", "allowed"),
    [
        ("a (>= 2.14)", "2.36-9+deb12u14", True),
        ("a (<< 1.0)", "1.0~rc1", True),
        ("a (>> 1.0)", "1:0.5", True),
        ("a (= 1.0-1)", "1.0-1", True),
        ("a (= 1.0-1)", "1.0-1+b1", False),
        ("a (<= 1.0)", "1.0", True),
        ("a", "0", True),
    ],
)
def test_versions_compare_as_in_debian(relation: str, version: str, *, allowed: bool) -> None:
    ((parsed,),) = parse_relations(relation, "x")
    assert parsed.allows(version) is allowed
    assert str(parsed) == relation


def test_relations_that_cannot_be_read() -> None:
    assert parse_relations(" a , b:any|c (>=1) ,", "x") == (
        (Relation("a"),),
        (Relation("b", "any"), Relation("c", None, ">=", "1")),
    )
    with pytest.raises(IntegrityError) as caught:
        parse_relations("a (> 1)", "Packages: x")
    assert str(caught.value) == "Packages: x: unreadable relation 'a (> 1)'"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("Filename", "../x.deb", "unusable Filename '../x.deb'"),
        ("Filename", "pool/../x.deb", "unusable Filename 'pool/../x.deb'"),
        ("Filename", "http://example.org/?x.deb", "unusable Filename 'http://example.org/?x.deb'"),
        ("Size", "-1", "unreadable Size or SHA256"),
        ("SHA256", SHA.upper(), "unreadable Size or SHA256"),
    ],
)
def test_stanzas_that_cannot_be_used(field: str, value: str, message: str) -> None:
    lines = [line for line in stanza("a").splitlines() if not line.startswith(field)]
    offers = universe("\n".join([*lines, f"{field}: {value}"]))
    with pytest.raises(IntegrityError) as caught:
        run(offers, "a")
    assert str(caught.value) == f"Packages: a: {message}"


def test_an_index_with_nothing_in_it() -> None:
    # A pocket that is new has no packages yet.
    for data in (b"", b"\n"):
        index = Index(data, "Packages")
        assert list(index.names()) == []
        assert (index.named("a"), index.providing("a")) == ([], [])


def test_an_index_that_is_not_one() -> None:
    with pytest.raises(IntegrityError) as caught:
        Index(b"Hello: x\n", "Packages")
    assert str(caught.value) == "Packages: the index does not begin with Package"
    with pytest.raises(IntegrityError) as caught:
        Index(b"Package: a\nVersion: 1\n", "Packages").named("a")
    assert str(caught.value) == "Packages: a: no Architecture"


NAMES = st.sampled_from("pqrstuvw")
PACKAGES = st.dictionaries(
    st.tuples(NAMES.map(lambda name: name * 2), st.integers(1, 3)),
    st.lists(
        st.tuples(
            NAMES.map(lambda name: name * 2), st.sampled_from(["", "=", ">="]), st.integers(1, 3)
        ),
        max_size=3,
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(PACKAGES, st.randoms())
def test_a_solution_holds_together_and_does_not_depend_on_the_order(packages, random) -> None:
    texts = [
        stanza(
            name,
            str(version),
            Depends=", ".join(
                f"{other} ({op} {wanted})" if op else other for other, op, wanted in deps
            ),
        )
        for (name, version), deps in packages.items()
    ]
    asked = sorted({name for name, _ in packages})[:2]
    try:
        first = run(universe(texts), *asked)
    except ResolutionError as error:
        first = [error.message]
    else:
        chosen = {line[1:].split()[0]: int(line.split()[1]) for line in first}
        assert set(asked) <= set(chosen)
        for name, version in chosen.items():
            for other, op, wanted in packages[name, version]:
                assert other in chosen
                assert {"": True, "=": chosen[other] == wanted, ">=": chosen[other] >= wanted}[op]
        # The answer, as pins, is kept.
        pins = {name: str(version) for name, version in chosen.items()}
        assert run(universe(texts), *asked, **pins) == first
    random.shuffle(texts)
    try:
        second = run(universe(texts), *asked)
    except ResolutionError as error:
        second = [error.message]
    assert first == second
