"""Credential helpers: programs `docker-credential-NAME` that keep passwords (docker-credential-helpers).

Secrets are passed through their stdin and stdout, never in arguments or messages.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.registry.auth.credential import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = pattern("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ABSENT = "credentials not found in native keychain"
_TIMEOUT = 60
_MOST = 1 << 20
TOKEN_USER = "<token>"  # a name, not a secret
"""The user name that a helper returns when the secret is an identity token."""


def helper_get(name: str, server: str, environ: Mapping[str, str]) -> Credential | None:
    """Ask the helper *name* for the credential of *server*; None if it has none. Raises RegistryConfigError."""
    status, output = _run(name, "get", server.encode(), environ)
    text = output.decode("utf-8", "replace").strip()
    if status:
        if text.lower().startswith(_ABSENT):
            return None
        raise RegistryConfigError(_program(name), f"fails: {shown(text.splitlines()[0] if text else '', 200)}")
    try:
        document = json.loads(text)
        user, secret = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistryConfigError(_program(name), "gave an answer that is not a credential") from error
    if not isinstance(user, str) or not isinstance(secret, str):
        raise RegistryConfigError(_program(name), "gave an answer that is not a credential")
    if not user and not secret:
        return None
    return Credential("", "", secret) if user == TOKEN_USER else Credential(user, secret)


def helper_store(name: str, server: str, credential: Credential, environ: Mapping[str, str]) -> None:
    """Store *credential* for *server* in the helper. Raises RegistryConfigError."""
    document = {"ServerURL": server, "Username": credential.user, "Secret": credential.password}
    _done(name, "store", json.dumps(document).encode(), environ)


def helper_erase(name: str, server: str, environ: Mapping[str, str]) -> None:
    """Erase the credential of *server* in the helper. Raises RegistryConfigError."""
    _done(name, "erase", server.encode(), environ)


def _done(name: str, action: str, data: bytes, environ: Mapping[str, str]) -> None:
    status, output = _run(name, action, data, environ)
    if status:
        text = output.decode("utf-8", "replace").strip()
        raise RegistryConfigError(_program(name), f"fails to {action}: {shown(text, 200)}")


def _program(name: str) -> str:
    return f"docker-credential-{shown(name, 70)}"


def _run(name: str, action: str, data: bytes, environ: Mapping[str, str]) -> tuple[int, bytes]:
    import subprocess

    if _NAME.fullmatch(name) is None:
        raise RegistryConfigError(_program(name), "is not a valid name of a credential helper")
    command = [f"docker-credential-{name}", action]
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
            env=dict(environ),
        )
    except FileNotFoundError as error:
        hint = "install it, or remove it from credHelpers or credsStore"
        raise RegistryConfigError(_program(name), "is not installed", hint) from error
    except subprocess.TimeoutExpired as error:
        raise RegistryConfigError(_program(name), f"did not answer within {_TIMEOUT} s") from error
    except OSError as error:
        raise RegistryConfigError(_program(name), "cannot be started") from error
    return done.returncode, done.stdout[:_MOST]
