from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.debian import make_deb

from mllock.errors import ResolutionError
from mllock.lock.debian.deb import open_deb
from mllock.lock.debian.script_judge import Alternative, judge
from mllock.lock.debian.script_table import HARMLESS, TABLE, notes
from mllock.lock.debian.scripts import Account, examine
from mllock.lock.debian.shell import parse_script
from mllock.lock.debian.shell_words import UnknownShellError

# Not known to the judge: reaching it is a refusal, so tests can say what is reached.
BAD = "frobnicate --now"


def found(text: str, action: str = "configure") -> list[str]:
    made = judge(text, action)
    assert all(isinstance(a, Alternative) for a in made)
    return [f"{a.name} {a.link} {a.path} {a.priority}" for a in made]


def refused(text: str, action: str = "configure") -> str:
    with pytest.raises(UnknownShellError) as caught:
        judge(text, action)
    return caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "set -e\n# frobnicate\nexit 0\nfrobnicate",
        f'if [ "$1" = "upgrade" ]; then {BAD}; fi',
        f'if [ "$1" = upgrade ] && dpkg --compare-versions "$2" lt 1; then {BAD}; fi',
        f'if [ -n "$2" ]; then {BAD}; fi',
        f'if test "$1" = configure -a -n "$2"; then {BAD}; fi',
        f'if [ "x$2" != "x" ]; then {BAD}; else :; fi',
        f'case "$1" in configure) ;; *) {BAD} ;; esac',
        f'case "$1" in (upgrade|abort-*) {BAD};; (*) true;; esac',
        f'case "$1" in\n  conf*)\n  ;;\n  upgrade)\n  {BAD}\n  ;;\nesac',
        f'dpkg --compare-versions "$2" lt-nl 2.0 && {BAD}',
        f'dpkg --compare-versions "$2" gt 2.0 && {BAD} || true',
        f"false && {BAD}",
        f"true || {BAD}",
        f"! true && {BAD}",
        f'old() {{\n {BAD}\n}}\n[ -z "$2" ] || old',
        f'f() {{ if [ "$1" = no ]; then {BAD}; fi; }}\nf yes',
        f'v=1\nif [ "$v" = 2 ]; then {BAD}; fi',
        f'local_="$1"\n[ "$local_" = configure ] || {BAD}',
        "echo done >/dev/null 2>&1",
        "if [ -x /usr/bin/x ]; then echo yes; fi",
        ". /usr/share/debconf/confmodule\ndb_get x/y || true\ndb_stop",
        'for x in a b; do echo "$x"; done\nwhile false; do :; done',
        "( cd /; ls ) | grep x | cut -f1",
        'dir="$(dirname "$0")"\n[ -x "`command -v x`" ] && echo',
        'py3compile -p python3-x:all\ndpkg-maintscript-helper rm_conffile /etc/x 1.0~ -- "$@"',
        "{ echo a; echo b; }",
        "deb-systemd-helper unmask x.service >/dev/null || true",
    ],
)
def test_what_leaves_nothing(text: str) -> None:
    assert judge(text, "configure") == []


@pytest.mark.parametrize(
    "text",
    [
        BAD,
        f"if [ -x /bin/x ]; then {BAD}; fi",
        f"if [ -x /bin/x ]; then exit 0; fi\n{BAD}",
        f'if [ "$1" = configure ]; then {BAD}; fi',
        f'case "$1" in configure|upgrade) {BAD};; esac',
        f'case "$UNKNOWN" in x) {BAD};; esac',
        f'case "$1" in $x) {BAD};; esac',
        f'[ "$2" = "" ] && {BAD}',
        f'[ -z "$2" -o "$1" = upgrade ] && {BAD}',
        f"if [ -n $2 ]; then {BAD}; fi",
        f"command -v x && {BAD}",
        f'f() {{ if [ "$1" = no ]; then {BAD}; fi; }}\nf no',
        f"f() {{ {BAD}; }}\nif [ -e /x ]; then f; fi",
        f"for x in a b; do {BAD}; done",
        f'x=a\nfor y in 1 2; do if [ "$x" = b ]; then {BAD}; fi; x=b; done',
        f"echo a | {BAD}",
        f"( {BAD} )",
        f'x="$({BAD})"',
        f"x=`{BAD}`",
        f'echo "a $({BAD}) b"',
        f'v=1\nif [ -e /x ]; then v=2; fi\nif [ "$v" = 2 ]; then {BAD}; fi',
        f"echo 'x' # y\n{BAD}",
        f"echo a#b; {BAD}",
        f'echo "#"; {BAD}',
    ],
)
def test_what_may_be_reached_is_refused(text: str) -> None:
    assert refused(text) == BAD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo x > /etc/x", "writes to /etc/x"),
        ("echo x >>/etc/x", "writes to /etc/x"),
        (": > $file", "writes to $file"),
        ("cat > /x <<EOF\nx\nEOF", "here-document"),
        ("sleep 1 &", "unexpected '&'"),
        ("command rm -rf /", "command rm -rf /"),
        ("dpkg --purge x", "dpkg --purge x"),
        (". /usr/lib/x", ". /usr/lib/x"),
        ("eval x", "eval x"),
        ("$cmd x", "$cmd x"),
        ("adduser x", "adduser x"),
        ("adduser --system --uid 0 x", "adduser --system --uid 0 x"),
        ("adduser --system $(id -un)", "adduser --system $(id -un)"),
        ("adduser --system 'x:0:0:'", "adduser --system 'x:0:0:'"),
        ("adduser --system --home /a/../b x", "adduser --system --home /a/../b x"),
        ("adduser --system --gecos 'a:b' x", "adduser --system --gecos 'a:b' x"),
        ("adduser --system --shell x", "adduser --system --shell x"),
        ("adduser --system --group --ingroup a x", "adduser --system --group --ingroup a x"),
        ("adduser --system --ingroup a,b x", "adduser --system --ingroup a,b x"),
        ("adduser --system a b c", "adduser --system a b c"),
        ("adduser --system --home", "adduser --system --home"),
        ("addgroup x", "addgroup x"),
        ("addgroup --system --gid 0 x", "addgroup --system --gid 0 x"),
        ("addgroup --system --home /x y", "addgroup --system --home /x y"),
        ("useradd -r x", "useradd -r x"),
        ("groupadd --system x", "groupadd --system x"),
        ("systemd-sysusers x.conf", "systemd-sysusers x.conf"),
        ("if true; then echo", "unexpected end"),
        ("fi", "unexpected 'fi'"),
        ("echo 'x", "no closing '"),
        ('echo "x', 'no closing "'),
        ("echo $(x", "no closing )"),
        ("echo $((1 + 1))", "arithmetic"),
        ("f() { f; }\nf", "f calls itself"),
        ("if true; then :; fi > /etc/x", "unexpected '>'"),
        ('update-alternatives --install "$x" a /b 1', "update-alternatives that is not literal"),
        (
            "if [ -e /x ]; then update-alternatives --install /a a /b 1; fi",
            "update-alternatives that is not literal",
        ),
        ("update-alternatives --set a /b", "update-alternatives that is not literal"),
        (
            "update-alternatives --install /a a /b 1 --initscript x",
            "update-alternatives that is not understood",
        ),
        (
            "update-alternatives --install a a /b 1",
            "update-alternatives with a relative path",
        ),
    ],
)
def test_what_is_not_known_is_refused(text: str, message: str) -> None:
    assert refused(text) == message


def test_accounts_are_found() -> None:
    text = """#!/bin/sh
user=redis
if ! getent passwd redis >/dev/null; then
    adduser --system --home /var/lib/redis --quiet --group ${user} --gecos 'a server'
fi
addgroup --system --quiet --force-badname _ssh
adduser --system --no-create-home --home=/var/lib/x --ingroup _ssh --shell /bin/sh x || true
adduser --quiet x redis
adduser --system y
"""
    assert judge(text, "configure") == [
        Account(kind="group", name="redis"),
        Account(
            kind="user",
            name="redis",
            group="redis",
            gecos="a server",
            home="/var/lib/redis",
            make_home=True,
        ),
        Account(kind="group", name="_ssh"),
        Account(kind="user", name="x", group="_ssh", home="/var/lib/x", shell="/bin/sh"),
        Account(kind="member", name="x", member_of="redis"),
        Account(kind="user", name="y"),
    ]


def test_literal_alternatives_are_found() -> None:
    text = """#!/bin/sh
if [ "$1" = "configure" ] || [ "$1" = "abort-upgrade" ]; then
        update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \\
            --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz \\
            --slave /usr/bin/nawk nawk /usr/bin/mawk
fi
update-alternatives --remove old /usr/bin/old
"""
    assert judge(text, "configure") == [
        Alternative(
            name="awk",
            link="/usr/bin/awk",
            path="/usr/bin/mawk",
            priority=5,
            slaves=(
                ("awk.1.gz", "/usr/share/man/man1/awk.1.gz", "/usr/share/man/man1/mawk.1.gz"),
                ("nawk", "/usr/bin/nawk", "/usr/bin/mawk"),
            ),
        )
    ]
    assert judge(text, "install") == []
    assert found("d=/usr/lib\nupdate-alternatives --install $d/a a ${d}/b 10") == [
        "a /usr/lib/a /usr/lib/b 10"
    ]


@pytest.mark.parametrize("words", ["one two", "one \\\n  two", '"one" two'])
def test_a_list_that_is_written_out_is_gone_through(words: str) -> None:
    """As imagemagick's postinst makes its alternatives."""
    body = 'update-alternatives --install /usr/bin/$p $p "/usr/bin/$p-6" 10'
    assert found(f"for p in {words}; do\n {body}\ndone\n{body}") == [
        "one /usr/bin/one /usr/bin/one-6 10",
        "two /usr/bin/two /usr/bin/two-6 10",
        "two /usr/bin/two /usr/bin/two-6 10",
    ]


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("in one*", ""),
        ("in $(ls)", ""),
        ("in one {two,three}", ""),
        ("in ~/one", ""),
        ("in $unknown one", ""),
        ("", ""),
        ("in one two", "; [ -e /x ] && break"),
        ("in one two", "; if [ -e /x ]; then continue; fi"),
        ("in one two", "; case $p in one) break ;; esac"),
        ("in one two", "; while [ -e /x ]; do break; done"),
    ],
)
def test_a_list_that_is_not_known_is_not_guessed(words: str, more: str) -> None:
    body = "update-alternatives --install /usr/bin/x x /usr/bin/x-$p 10"
    assert refused(f"for p {words}; do {body}{more}; done") == (
        "update-alternatives that is not literal"
    )
    # Nor is what a list sets that may not be reached at all.
    assert refused(f"if [ -e /x ]; then for p in one; do {body}; done; fi") == (
        "update-alternatives that is not literal"
    )


def test_a_package_whose_script_cannot_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(make_deb("x", scripts={"postinst": "#!/bin/sh\nset -e\nadduser x\n"}))
    with pytest.raises(ResolutionError) as caught:
        examine(open_deb(path, "x_1.0.deb"), "x", "1.0")
    assert str(caught.value) == (
        "x_1.0.deb: postinst:3: x 1.0: its postinst script would do what mllock cannot do"
        " without running it\n"
        "found: adduser x\n"
        "hint: leave x out of system-packages, or take an image as base that has it"
    )
    assert caught.value.exit_code == 2


def test_scripts_in_other_languages(tmp_path: Path) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(make_deb("x", scripts={"preinst": "#!/usr/bin/perl\nexit 0;\n"}))
    with pytest.raises(ResolutionError) as caught:
        examine(open_deb(path, "x.deb"), "x", "1")
    assert caught.value.found == "not a shell script"


def test_packages_of_the_table_are_accepted_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.deb"
    scripts = {"postinst": "#!/bin/sh\nfrobnicate\n", "prerm": "#!/usr/bin/perl\n"}
    path.write_bytes(make_deb("tzdata", scripts=scripts))
    assert examine(open_deb(path, "x.deb"), "tzdata", "1") == ()
    # Only some commands: the script is followed.
    path.write_bytes(make_deb("gawk", scripts={"postinst": "#!/bin/sh\nrm -f /x\n"}))
    assert examine(open_deb(path, "x.deb"), "gawk", "1") == ()
    path.write_bytes(make_deb("gawk", scripts={"postinst": "#!/bin/sh\nmv /x /y\n"}))
    with pytest.raises(ResolutionError):
        examine(open_deb(path, "x.deb"), "gawk", "1")


def test_what_is_missing_is_said() -> None:
    assert notes(["bash", "xz-utils", "absent"]) == (
        "xz-utils: the names of the older lzma tools, e.g. unlzma, are not linked",
    )


def test_every_entry_has_a_reason() -> None:
    assert all(accepted.reason and accepted.commands for accepted in TABLE.values())
    assert all(HARMLESS.values())
    assert {script for _, script in TABLE} == {"preinst", "postinst"}


@pytest.mark.parametrize(
    "text",
    [
        "if true; then :; elif false; then :; else :; fi",
        "case x in\n(a|b) :;;\n*) : ;;\nesac",
        "f() {\n :\n}\nf a b",
        "a=1 b='x y' true | cat && ! false || { true; }",
        "for i in 1 2; do\n :\ndone; while false; do :; done; until true; do :; done",
        "( cd / && ls ) >/dev/null",
        'x="$(echo "a)b" \')\' ${y:-"}"})"\n',
        "echo `echo a` \\\n  b # c",
    ],
)
def test_the_parser_reads_what_dash_reads(text: str) -> None:
    assert subprocess.run(["dash", "-n"], input=text.encode(), check=False).returncode == 0
    if ">" not in text:
        assert parse_script(text)
    else:
        # Stricter than the shell: the output of a block goes nowhere that we would look.
        with pytest.raises(UnknownShellError):
            parse_script(text)
