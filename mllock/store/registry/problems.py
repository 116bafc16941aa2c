"""What went wrong with a registry, as one message each: by status and by the codes of the
distribution specification. Pure.

A registry's own words are never passed on: it could repeat what it was sent. Only codes that the
specification lists are looked at, and each has a sentence of ours.
"""

from __future__ import annotations

import json

from mllock.errors import IntegrityError, OfflineError, SurroundingsError

__all__ = ["lies", "refused", "unreachable"]

# OCI distribution-spec 1.1, error codes, and what older registries use.
_CODES = {
    "BLOB_UNKNOWN": "it does not have the blob",
    "BLOB_UPLOAD_INVALID": "the upload was broken off",
    "BLOB_UPLOAD_UNKNOWN": "it does not know the upload any more",
    "DENIED": "access is denied",
    "DIGEST_INVALID": "the digest is not that of the bytes it got",
    "MANIFEST_BLOB_UNKNOWN": "it lacks a blob of the manifest",
    "MANIFEST_INVALID": "it does not accept the manifest",
    "MANIFEST_UNKNOWN": "it has no such manifest",
    "MANIFEST_UNVERIFIED": "it does not accept the manifest",
    "NAME_INVALID": "it does not accept the name of the repository",
    "NAME_UNKNOWN": "it has no such repository",
    "SIZE_INVALID": "the size is not that of the bytes it got",
    "TAG_INVALID": "it does not accept the tag",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "credentials are missing or not accepted",
    "UNSUPPORTED": "it does not support that",
}
_AGAIN = "run the same command again: what is there already is not sent again"


def refused(host: str, what: str, status: int, body: bytes) -> SurroundingsError:
    """An answer that is not the one that was hoped for. `what` is an infinitive: "push tag x"."""
    codes = _codes(body)
    if status == 401:
        return SurroundingsError(
            f"cannot {what}: the registry {host} does not accept the credentials, or wants some",
            hint=f'log in with "docker login {host}", or write them into config.json of Docker',
        )
    if status == 403 or "DENIED" in codes:
        return SurroundingsError(
            f"cannot {what}: the registry {host} denies access",
            hint="ask its owner for the permission, or log in as somebody who has it",
        )
    if status == 507:
        return SurroundingsError(
            f"cannot {what}: the registry {host} has no space left",
            hint=f"free some space there, then {_AGAIN}",
        )
    if status == 413:
        return SurroundingsError(
            f"cannot {what}: the registry {host} (or a proxy) takes no request that large",
            hint="raise the limit of the size of a request there",
        )
    known = next((_CODES[code] for code in codes if code in _CODES), None)
    reason = f" ({known})" if known else ""
    if status >= 500:
        return SurroundingsError(
            f"cannot {what}: the registry {host} failed with status {status}{reason}",
            hint=f"look whether its disk is full and what its log says, then {_AGAIN}",
        )
    return SurroundingsError(
        f"cannot {what}: the registry {host} answered with status {status}{reason}"
    )


def unreachable(host: str, what: str, reason: str) -> OfflineError:
    if "TLS" in reason:
        return OfflineError(
            f"cannot {what}: the registry {host} does not answer: {reason}",
            hint="name its certificate authority with MLLOCK_CA_FILE, or check the name",
        )
    return OfflineError(
        f"cannot {what}: the registry {host} does not answer: {reason}",
        hint="check the name, the network and the proxy, then run the same command again",
    )


def lies(
    host: str,
    what: str,
    subject: str,
    *,
    expected: str | None = None,
    found: str | None = None,
) -> IntegrityError:
    """What the registry sent is not what it should be. `subject` is the digest or tag asked for."""
    return IntegrityError(
        f"the registry {host} {what}", file=subject, expected=expected, found=found
    )


def _codes(body: bytes) -> tuple[str, ...]:
    try:
        errors = json.loads(body)["errors"]
        return tuple(code for code in (str(error["code"]) for error in errors) if code in _CODES)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
