"""`--pull`: find the image for `run` or `load` in the store, or pull it from a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.images.encryption import decryption_keys, decryption_option
from arstore.cli.parameter import Choice, Range, option
from arstore.cli.registries.options import registry_access, registry_options
from arstore.cli.trust.rules import policy_options, policy_rules, require_admitted
from arstore.errors import NotFoundError, PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from arstore.cli.images.encryption import DecryptionWords
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords
    from arstore.oci.platform import Platform
    from arstore.registry.access import RegistryOptions
    from arstore.store.store import Store, StoredImage

    F = TypeVar("F", bound="Callable[..., Any]")

    class PullWords(AccessWords, DecryptionWords, PolicyWords):
        """The options of `pull_options` as they were typed."""

        pull: str | None
        retry: int | None
        retry_delay: str


ALWAYS, MISSING, NEVER = "always", "missing", "never"


def pull_options(function: F) -> F:
    """Add `--pull`, and the options of policies, decryption and registries, to a command."""
    pull = option(
        "--pull",
        type=Choice((MISSING, ALWAYS, NEVER)),
        help="When to pull the image: always, never, or if it is missing. By default a missing image is pulled if its "
        "name contains a registry.",
    )
    quiet = option("-q", "--quiet", is_flag=True, apply=_set_quiet, help="Show no progress of the pull.")
    tries = option("--retry", metavar="N", type=Range(int, min=0), help="Repeat a request N times; 5 by default.")
    delay = option("--retry-delay", metavar="TIME", default="", help="Time before the first repetition, such as 2s.")
    return pull(quiet(tries(delay(decryption_option(policy_options(registry_options(function)))))))


def _set_quiet(session: Session, _: object) -> None:
    session.quiet = True


def may_pull(text: str, words: PullWords) -> bool:
    """Return whether the image that *text* names is pulled if it is missing."""
    if words["pull"] is not None:
        return words["pull"] != NEVER
    from arstore.oci.docker_reference import has_domain

    return has_domain(text) and not text.startswith("localhost/")


def found_or_pulled(
    session: Session, store: Store, text: str, words: PullWords, platform: Platform | None = None
) -> StoredImage:
    """Return the image that *text* names for *platform* (None for the host's), after pulling it if necessary.

    Raises NotFoundError, AmbiguousError, InvalidReferenceError, PlatformError, PolicyError, RejectedError, and for a
    pull SourceError, RegistryError.
    """
    if words["pull"] != ALWAYS:
        try:
            return _admitted(session, store, text, words, platform)
        except (NotFoundError, PlatformError) as error:
            if not may_pull(text, words) or (isinstance(error, PlatformError) and platform is None):
                raise
    from arstore.api.store import Store as Library

    access = _patient(registry_access(session, words), words)
    session.tell_confinement()
    keys, rules = decryption_keys(session, words), policy_rules(session, words)
    chosen = "" if platform is None else str(platform)
    with session.progress() as progress:
        library = Library.over(store, session.settings, rules)
        library.pull(text, platform=chosen, limits=session.limits(()), registries=access, keys=keys, progress=progress)
    return store.find_image(text, platform)


def _patient(access: RegistryOptions, words: PullWords) -> RegistryOptions:
    """Return *access* with the tries that the user wants. Raises UsageError."""
    from arstore.runtime.spec.moments import parse_duration

    patience = access.patience
    if words["retry"] is not None:
        patience = patience._replace(tries=words["retry"] + 1)
    if words["retry_delay"]:
        first = parse_duration(words["retry_delay"])
        patience = patience._replace(first=first, longest=max(patience.longest, first))
    return access._replace(patience=patience)


def _admitted(session: Session, store: Store, text: str, words: PullWords, platform: Platform | None) -> StoredImage:
    """Return the image of the store that *text* names. Raises RejectedError if the policy does not accept it."""
    found = store.find_image(text, platform)
    require_admitted(session, store, found, words)
    return found
