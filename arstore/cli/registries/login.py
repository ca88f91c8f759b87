"""`login` and `logout`: credentials for registries, in the files of podman and skopeo."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import REGISTRY_ERRORS, command, exit_statuses, json_option
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.auth.credential import Credential

_LONGEST = 64 << 10
_AUTHFILE = option("--authfile", metavar="FILE", help="The credentials file, instead of the user's auth.json.")


@exit_statuses(errors.InvalidReferenceError, *REGISTRY_ERRORS)
@command("login")
@argument("registry")
@option("-u", "--username", metavar="USER", help="The user name; by default it is read from the terminal.")
@option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@option("--get-login", is_flag=True, help="Only print the user name that is stored for the registry.")
@_AUTHFILE
@option(
    "--cert-dir",
    metavar="DIR",
    help="A directory with CA (*.crt) and client certificates (*.cert with *.key) for the registry.",
)
@option(
    "--tls-verify",
    type=Choice(("true", "false")),
    help="false: do not verify the registry's certificate, and use plain HTTP if HTTPS does not work.",
)
@json_option
def login(
    session: Session,
    registry: str,
    username: str | None,
    password_stdin: bool,
    get_login: bool,
    authfile: str | None,
    cert_dir: str | None,
    tls_verify: str | None,
) -> None:
    """Store credentials for a registry.

    REGISTRY is HOST[:PORT]; HOST/NAME stores credentials for the names that begin so. The registry is asked first
    whether it accepts them. They are stored in the user's auth.json, where podman, skopeo and buildah find them too, or
    with the credential helper that this file names. The password is read from the terminal or from stdin; it cannot be
    an argument.

    Example:

    arstore login -u me --password-stdin registry.example.com < password
    """
    from arstore.registry.access import Access, RegistryOptions
    from arstore.registry.configuration.auth_file import find_credential, own_auth_file, save_credential
    from arstore.registry.configuration.places import Places

    key, reference = _key(registry)
    places = Places.here()
    if get_login:
        found = find_credential(key, places, authfile)
        if found is None:
            raise errors.RegistryAccessError(
                key, "no credentials are stored for it", f"`arstore login {key}` stores them"
            )
        write_json({"registry": key, "username": found.user}) if session.json else write_line(found.user)
        return
    credential = _asked(key, username, password_stdin)
    verify = None if tls_verify is None else tls_verify == "true"
    with Access(RegistryOptions(verify, credential, cert_dir=cert_dir, tell=session.warn, places=places)) as access:
        if not access.to_write(reference).client.accepts_credentials():
            session.warn(f"{key} does not ask for credentials, so these were not tested")
    path = authfile or places.environ.get("REGISTRY_AUTH_FILE") or own_auth_file(places)
    where = save_credential(key, credential, places, path)
    if session.json:
        write_json({"registry": key, "username": credential.user, "kept": where})
        return
    session.note(f"stored the credentials for {key} in {where}")


@exit_statuses(errors.InvalidReferenceError, errors.NotFoundError, errors.RegistryConfigError)
@command("logout")
@argument("registry", required=False)
@option("--all", "every", is_flag=True, help="Remove all credentials in the file.")
@_AUTHFILE
@json_option
def logout(session: Session, registry: str | None, every: bool, authfile: str | None) -> None:
    """Remove the credentials for a registry.

    REGISTRY is the same as for `arstore login`. Credentials in other files of the user are not removed.

    Example:

    arstore logout registry.example.com
    """
    from arstore.registry.configuration.auth_file import erase_credential, own_auth_file, saved_keys
    from arstore.registry.configuration.places import Places

    if every == (registry is not None):
        raise errors.UsageError("logout", "give either a registry or --all")
    places = Places.here()
    path = authfile or places.environ.get("REGISTRY_AUTH_FILE") or own_auth_file(places)
    keys = saved_keys(path) if registry is None else [_key(registry)[0]]
    gone = [key for key in keys if erase_credential(key, places, path)]
    if registry is not None and not gone:
        raise errors.NotFoundError(keys[0], f"{path} has no credentials for it")
    if session.json:
        write_json({"registries": gone, "file": path})
        return
    for key in gone:
        session.note(f"removed the credentials for {key} from {path}")


def _key(text: str) -> tuple[str, DockerReference]:
    """Return the key of the credentials in the file, and a reference to connect to the registry with."""
    from arstore.oci.docker_reference import DockerReference

    text = text.rstrip("/")
    if "://" in text or "@" in text:
        raise errors.InvalidReferenceError(text, "is not HOST[:PORT] or HOST/NAME", "leave out scheme and digest")
    host, slash, path = text.partition("/")
    reference = DockerReference.parse(f"{_with_dot(host)}/{path or 'any'}", "")
    if reference.tag:
        raise errors.InvalidReferenceError(text, "has a tag", "leave the tag out")
    reference = reference._replace(domain="docker.io" if host in {"docker.io", "index.docker.io"} else host)
    return (f"{reference.domain}/{path}" if slash else reference.domain), reference


def _with_dot(host: str) -> str:
    """Return *host* in a form that references accept as a host; `registry` alone would be a name."""
    return host if "." in host or ":" in host or host == "localhost" else f"{host}.x"


def _asked(key: str, username: str | None, password_stdin: bool) -> Credential:
    from arstore.registry.auth.credential import Credential

    if password_stdin:
        if username is None:
            raise errors.UsageError("--password-stdin", "needs --username")
        if sys.stdin is None:
            raise errors.UsageError("--password-stdin", "stdin is closed")
        password = os.read(0, _LONGEST)
        while len(password) < _LONGEST and (more := os.read(0, _LONGEST)):
            password += more
        text = password.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    else:
        if not os.isatty(0):
            raise errors.UsageError("login", "stdin is not a terminal", "give --username and --password-stdin")
        import getpass

        if username is None:
            sys.stderr.write(f"User name for {key}: ")
            sys.stderr.flush()
            username = sys.stdin.readline().strip()
        text = getpass.getpass("Password: ")
    if not username or ":" in username or not username.isprintable():
        raise errors.UsageError("--username", "is empty, or has an invalid character such as a colon")
    if not text or "\n" in text or "\0" in text:
        raise errors.UsageError("login", "the password is empty, or has more than one line")
    return Credential(username, text)
