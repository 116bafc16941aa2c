"""Keys: one ECDSA P-256 key of this user's, and the public keys of others.

The private key is PKCS#8 PEM with mode 0600 in `$XDG_CONFIG_HOME/mllock/keys/default.key`, made on
first use, or what MLLOCK_KEY holds or names. It never goes to a project, a log or a record.
Signatures are deterministic (RFC 6979) where OpenSSL can, so that the same payload signed with the
same key is the same bytes; `SigningKey.deterministic` says whether it could.
Specified in docs/reference/keys-and-policy.md. Raises RunError.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import RunError
from mllock.store import atomic
from mllock.store.atomic import cannot_write

if TYPE_CHECKING:  # cryptography takes longer to import than the rest of mllock together
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = [
    "KEY_FILE",
    "PublicKey",
    "SigningKey",
    "create_key",
    "load_key",
    "load_or_create_key",
    "make_key",
    "replace_key",
]

KEY_FILE = Path("keys", "default.key")
MAX_KEY_BYTES = 64 * 1024
P256 = "secp256r1"

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ECDSA public key, known by its DER SubjectPublicKeyInfo. Made by `from_pem`."""

    der: bytes

    @classmethod
    def from_pem(cls, pem: str | bytes, *, name: str = "public key") -> PublicKey:
        """Read a P-256 key. `name` is what errors call it."""
        key = cls.from_pem_any_curve(pem, name=name)
        if key.curve != P256:
            raise RunError(
                "not a P-256 key",
                file=name,
                expected=f"curve {P256}",
                found=f"curve {key.curve}",
                hint="mllock signs and trusts ECDSA P-256 only",
            )
        return key

    @classmethod
    def from_pem_any_curve(cls, pem: str | bytes, *, name: str = "public key") -> PublicKey:
        """Read a key of a NIST curve: OpenSSF Model Signing allows P-384 and P-521 too."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        data = pem.encode("utf-8") if isinstance(pem, str) else pem
        if b"PRIVATE KEY-----" in data:
            raise RunError(
                "a private key, where a public one is expected",
                file=name,
                hint='"mllock keys export" prints the public half of your own key; '
                "a private key is never given to anybody",
            )
        try:
            loaded = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise RunError(
                "not a public key",
                file=name,
                expected='PEM that starts with "-----BEGIN PUBLIC KEY-----"',
            ) from None
        if not isinstance(loaded, ec.EllipticCurvePublicKey) or loaded.curve.name not in _hashes():
            raise RunError("not an ECDSA key of a NIST curve", file=name)
        return cls(_der(loaded))

    @property
    def _key(self) -> ec.EllipticCurvePublicKey:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        loaded = serialization.load_der_public_key(self.der)
        assert isinstance(loaded, ec.EllipticCurvePublicKey)
        return loaded

    @property
    def curve(self) -> str:
        return self._key.curve.name

    @property
    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def hint(self) -> str:
        """What a bundle calls this key: base64 of the sha256 of the DER."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    @property
    def fingerprint(self) -> str:
        """What people call this key: the hint as `SHA256:` and base64 without padding."""
        return "SHA256:" + self.hint.rstrip("=")

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` (DER) over `data` is by this key, with the hash of its curve."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            self._key.verify(signature, data, ec.ECDSA(_hashes()[self.curve]))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that is ready to sign. Its repr does not show it."""

    public: PublicKey
    deterministic: bool
    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def fingerprint(self) -> str:
        return self.public.fingerprint

    @property
    def public_pem(self) -> str:
        return self.public.pem

    @property
    def hint(self) -> str:
        return self.public.hint

    def sign(self, data: bytes) -> bytes:
        """The DER signature over the sha256 of `data`."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=self.deterministic)
        return self._private.sign(data, algorithm)


def load_key(config_dir: Path, environ: Mapping[str, str]) -> SigningKey | None:
    """The key of MLLOCK_KEY or of this user, or None if there is none yet."""
    given = environ.get("MLLOCK_KEY", "")
    if given.strip().startswith("-----BEGIN"):
        return _parse(given.strip().encode("utf-8"), "MLLOCK_KEY")
    if given:
        path = Path(given)
        data = _read_private(path)
        if data is None:
            raise RunError(
                "no such key file",
                file=str(path),
                hint="MLLOCK_KEY holds a private key in PEM form, or names a file that does",
            )
        return _parse(data, str(path))
    path = config_dir / KEY_FILE
    data = _read_private(path)
    return None if data is None else _parse(data, str(path))


def load_or_create_key(config_dir: Path, environ: Mapping[str, str]) -> SigningKey:
    """The key of MLLOCK_KEY or of this user, made now if this user has none.

    When two processes make one at the same time, both get the key of the first.
    """
    found = load_key(config_dir, environ)
    if found is not None:
        return found
    path = config_dir / KEY_FILE
    create_key(path, _generate())
    data = _read_private(path)
    if data is None:
        raise RunError("the key was removed while it was made", file=str(path))
    return _parse(data, str(path))


def make_key() -> tuple[SigningKey, bytes]:
    """A new key and its private PEM, which is nowhere else yet."""
    pem = _generate()
    return _parse(pem, "new key"), pem


def _generate() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def create_key(path: Path, pem: bytes) -> bool:
    """Put `pem` at `path`, whole: a link is exclusive and atomic. False if something is there."""
    with _written(path, pem) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise RunError(
                    "cannot make a key here: the file system has no hard links",
                    file=str(path),
                    hint="make a P-256 key elsewhere and name it in MLLOCK_KEY",
                ) from error
            raise cannot_write(path, error) from error
        return True


def replace_key(path: Path, pem: bytes) -> None:
    """Put `pem` in the place of the key at `path`: one or the other is there at any time."""
    with _written(path, pem) as temporary:
        try:
            os.rename(temporary, path)
        except OSError as error:
            raise cannot_write(path, error) from error


@contextlib.contextmanager
def _written(path: Path, pem: bytes) -> Iterator[Path]:
    """`pem` on the disk beside `path`, never readable for others, gone when the block ends."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    try:
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise cannot_write(path, error) from error
        yield temporary
        atomic.sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _read_private(path: Path) -> bytes | None:
    """The bytes of a key file that only its owner can read; None if there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(
            f"cannot read the key: {(error.strerror or str(error)).lower()}", file=str(path)
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RunError("the key is not a regular file", file=str(path))
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise RunError(
                "other users may read or change this key",
                file=str(path),
                expected="mode 0600",
                found=f"mode {mode:04o}",
                hint=f"chmod 600 {path}; if others could read it, make a new key",
            )
        return os.read(descriptor, MAX_KEY_BYTES)
    finally:
        os.close(descriptor)


def _parse(pem: bytes, name: str) -> SigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        private = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise RunError(
            "the key is encrypted",
            file=name,
            hint="give a key without a passphrase; let the CI's secret store protect it",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise RunError(
            "not a private key",
            file=name,
            expected='PKCS#8 PEM that starts with "-----BEGIN PRIVATE KEY-----"',
            hint="make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != P256:
        raise RunError(
            "not a P-256 key",
            file=name,
            expected=f"an EC key of curve {P256}",
            hint="make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        )
    return SigningKey(PublicKey(_der(private.public_key())), _can_be_deterministic(), private)


def _can_be_deterministic() -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        return False
    return True


def _der(key: ec.EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _hashes() -> Mapping[str, hashes.HashAlgorithm]:
    """The hash that goes with each curve (Sigstore's PKIX_ECDSA_P256_SHA_256 and its sisters)."""
    from cryptography.hazmat.primitives import hashes

    return {P256: hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
