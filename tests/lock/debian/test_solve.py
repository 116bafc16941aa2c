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
            stanza("postfix", Provides="mta"),
            stanza("exim", Provides="mta, other"),
            stanza("new", Depends="api (>= 2)"),
            stanza("impl", Provides="api (= 2.1), plain"),
            stanza("old", Provides="api"),
        ]
    )
    assert run(offers, "a") == ["+a 1", "+b 1"]
    # Something that was chosen already is preferred to the first alternative.
    assert run(offers, "a", seeds=("c",)) == ["c 1", "+a 1"]
    assert run(offers, "mail") == ["+exim 1", "+mail 1"]
    assert run(offers, "mail", "postfix") == ["+mail 1", "+postfix 1"]
    # A versioned relation is met by a versioned Provides only.
    assert run(offers, "new") == ["+impl 1", "+new 1"]


def test_multiarch_qualifiers() -> None:
    offers = universe(
        [
            stanza("a", Depends="python:any (>= 1), lib:amd64"),
            stanza("python"),
            stanza("lib"),
            stanza("foreign", Depends="lib:i386"),
        ]
    )
    assert run(offers, "a") == ["+a 1", "+lib 1", "+python 1"]
    assert refused(offers, "foreign") == (
        "foreign 1 depends on lib:i386, which no archive offers\n"
        "hint: are all pockets of the suite (updates, security) in the mirror that is set?"
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
        "a 1 cannot be installed together with b 1 (b)\n"
        "hint: ask for only one of them in system-packages"
    )
    assert refused(offers, "mta1", "mta2") == (
        "mta1 1 cannot be installed together with mta2 1 (mta)\n"
        "hint: ask for only one of them in system-packages"
    )
    assert run(offers, "mta1") == ["+mta1 1"]
    assert run(offers, "new", "lib", lib="1") == ["+lib 2", "+new 1"]


def test_names_that_do_not_exist() -> None:
    offers = universe([stanza("libgomp1"), stanza("postfix", Provides="mta")])
    assert refused(offers, "libgomp") == (
        'environment.system-packages: no package "libgomp" in the archive\n'
        'hint: did you mean "libgomp1"?'
    )
    assert refused(offers, "quite-different") == (
        'environment.system-packages: no package "quite-different" in the archive\n'
        "hint: is it in the component main?"
    )
    assert refused(offers, "mta") == (
        'environment.system-packages: "mta" is a virtual package\nhint: name one of postfix'
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


def test_an_index_that_is_not_one() -> None:
    with pytest.raises(IntegrityError) as caught:
        Index(b"Hello: x\n", "Packages")
    assert str(caught.value) == "Packages: a stanza does not begin with Package"
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
