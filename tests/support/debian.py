"""A Debian archive made and signed on the fly: packages, indexes, InRelease, as URL paths.

with serving(archive.answers()) as server: ...

Nothing is patched: the product fetches over HTTP and verifies signatures; only the keyring that it
is given holds this archive's key instead of Debian's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pysequoia

from mllock.lock.types import DebianPackage
from support.webserver import Answer

__all__ = ["NOW", "Archive", "Key", "ar", "make_deb", "on_disk", "tar_of"]

NOW = dt.datetime(2026, 11, 23, 8, 0, tzinfo=dt.UTC)


class Key:
    """A signing key of this session's own."""

    def __init__(self) -> None:
        self._key = pysequoia.Tsk.generate("Archive <archive@example.org>")
        self.public = str(self._key.extract_certificate()).encode()
        self.fingerprint = self._key.extract_certificate().fingerprint.upper()
        # What signs is a subkey, as in Debian's own keys.
        signature = pysequoia.sign(self._key.signer(), b"", mode=pysequoia.SignatureMode.DETACHED)
        self.signing = str(pysequoia.Sig.from_bytes(signature).issuer_fingerprint).upper()

    def revoked(self) -> bytes:
        """The certificate with a revocation of it."""
        certificate = self._key.extract_certificate()
        return bytes(certificate) + bytes(certificate.revoke(self._key.certifier()))

    def until(self, end: dt.datetime) -> bytes:
        """The certificate with an end."""
        certificate = self._key.extract_certificate()
        return bytes(certificate.set_expiration(end, self._key.certifier()))

    def sign(self, text: str) -> bytes:
        return bytes(
            pysequoia.sign(self._key.signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR)
        )


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def member(
    name: str,
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    target: str = "",
    owner: str = "root",
    group: str = "root",
    size: int = 0,
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, target, size
    info.uname, info.gname = owner, group
    info.mtime = 1_700_000_000
    return info


def tar_of(
    members: Sequence[tuple[tarfile.TarInfo, bytes]], *, style: int = tarfile.GNU_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def files_tar(files: Mapping[str, bytes | str | tarfile.TarInfo]) -> bytes:
    """Path -> bytes (a file), "-> target" (a link), "hard target", "folder", or a member."""
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    for path, content in files.items():
        name = f"./{path}"
        if isinstance(content, tarfile.TarInfo):
            members.append((content, b""))
        elif isinstance(content, bytes):
            mode = 0o755 if "bin/" in path else 0o644
            members.append((member(name, mode=mode), content))
        elif content == "folder":
            members.append((member(name + "/", kind=tarfile.DIRTYPE, mode=0o755), b""))
        elif content.startswith("-> "):
            info = member(name, kind=tarfile.SYMTYPE, mode=0o777, target=content[3:])
            members.append((info, b""))
        else:
            target = "./" + content.removeprefix("hard ")
            members.append((member(name, kind=tarfile.LNKTYPE, target=target), b""))
    return tar_of(members)


def make_deb(
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, bytes | str | tarfile.TarInfo] | None = None,
    scripts: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    architecture: str = "amd64",
    data: tuple[str, bytes] | None = None,
) -> bytes:
    """A .deb. `data` gives the last member as (name, bytes) instead of `files`."""
    control = {"Package": name, "Version": version, "Architecture": architecture}
    control |= dict(fields or {}) | {"Description": "a package"}
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    controls: dict[str, bytes] = {"control": text.encode(), "md5sums": b""}
    controls |= {script: body.encode() for script, body in (scripts or {}).items()}
    inner = tar_of([(member(f"./{key}"), body) for key, body in controls.items()])
    last = data or ("data.tar.xz", lzma.compress(files_tar(files or {}), preset=0))
    return ar(
        [("debian-binary", b"2.0\n"), ("control.tar.xz", lzma.compress(inner, preset=0)), last]
    )


def on_disk(
    folder: Path, deb: bytes, name: str, version: str = "1.0"
) -> tuple[DebianPackage, Path]:
    """A .deb as `base_nodes` takes it."""
    path = folder / f"{name}_{version}.deb"
    path.write_bytes(deb)
    return _pin(name, version, deb), path


def _pin(name: str, version: str, deb: bytes) -> DebianPackage:
    return DebianPackage(
        name=name,
        version=version,
        architecture="amd64",
        filename=f"pool/main/{name}_{version}_amd64.deb",
        size=len(deb),
        sha256=hashlib.sha256(deb).hexdigest(),
        layer="base",
    )


class Archive:
    """One mirror: `add` packages to pockets ("", "-updates", "-security"), then `answers`."""

    def __init__(self, key: Key, suite: str = "bookworm") -> None:
        self.key = key
        self.suite = suite
        self.debs: dict[str, bytes] = {}
        self.stanzas: dict[str, list[str]] = {"": []}
        self.release: dict[str, str] = {
            "Date": "Sat, 21 Nov 2026 00:53:02 UTC",
            "Valid-Until": "Sat, 28 Nov 2026 00:53:02 UTC",
            "Acquire-By-Hash": "yes",
        }

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        pocket: str = "",
        fields: Mapping[str, str] | None = None,
        files: Mapping[str, bytes | str | tarfile.TarInfo] | None = None,
        scripts: Mapping[str, str] | None = None,
    ) -> bytes:
        deb = make_deb(name, version, files=files, scripts=scripts, fields=fields)
        folder = "pool/updates/main" if pocket == "-security" else "pool/main"
        filename = f"{folder}/{name}_{version.replace(':', '%3a')}_amd64.deb".replace("%3a", "_")
        self.debs[filename] = deb
        stanza = {"Package": name, "Version": version, "Architecture": "amd64"}
        stanza |= dict(fields or {})
        stanza |= {
            "Filename": filename,
            "Size": str(len(deb)),
            "SHA256": hashlib.sha256(deb).hexdigest(),
        }
        text = "".join(f"{key}: {value}\n" for key, value in stanza.items())
        self.stanzas.setdefault(pocket, []).append(text)
        return deb

    def packages(self, pocket: str = "") -> bytes:
        return "\n".join(self.stanzas[pocket]).encode()

    def inrelease(self, pocket: str = "", **changes: str) -> bytes:
        plain = self.packages(pocket)
        packed = lzma.compress(plain, preset=0)
        fields = {"Codename": f"{self.suite}{pocket}"} | self.release
        fields |= {key.replace("_", "-"): value for key, value in changes.items()}
        listed = "".join(
            f"\n {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages{suffix}"
            for data, suffix in ((plain, ""), (packed, ".xz"))
        )
        fields["SHA256"] = listed
        text = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        return self.key.sign(text)

    def answers(self) -> dict[str, Answer]:
        """What a web server has to say, under /debian and /debian-security."""
        found: dict[str, Answer] = {}
        for pocket in self.stanzas:
            root = "/debian-security" if pocket == "-security" else "/debian"
            dist = f"{root}/dists/{self.suite}{pocket}"
            packed = lzma.compress(self.packages(pocket), preset=0)
            found[f"{dist}/InRelease"] = Answer(body=self.inrelease(pocket))
            folder = f"{dist}/main/binary-amd64"
            hashed = hashlib.sha256(packed).hexdigest()
            found[f"{folder}/by-hash/SHA256/{hashed}"] = Answer(body=packed)
            found[f"{folder}/Packages.xz"] = Answer(body=packed)
        for filename, deb in self.debs.items():
            root = "/debian-security" if filename.startswith("pool/updates") else "/debian"
            found[f"{root}/{filename}"] = Answer(body=deb)
        return found
