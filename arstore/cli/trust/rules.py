"""`--policy` and `--require-signatures`: the options for signature policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.parameter import FilePath, option
from arstore.errors import LimitError, PolicyError, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.cli.session import Session
    from arstore.store.store import Store, StoredImage
    from arstore.trust.rules import Rules

    F = TypeVar("F", bound="Callable[..., Any]")

    class PolicyWords(TypedDict):
        """The options of `policy_options` as they were typed."""

        policy: str | None
        require_signatures: bool


POLICY_ERRORS = (PolicyError, RejectedError, LimitError)
"""Errors of commands that apply a policy."""


_OPTIONS = (
    option(
        "--policy",
        metavar="FILE",
        type=FilePath(),
        help="The signature policy; by default that of config.toml, ~/.config/containers/policy.json or "
        "/etc/containers/policy.json.",
    ),
    option(
        "--require-signatures", is_flag=True, help="Refuse images for which the policy does not require a signature."
    ),
)


def policy_options(function: F) -> F:
    """Add the options to a command; its function takes those of `PolicyWords` in `**words`."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def policy_rules(session: Session, words: PolicyWords) -> Rules:
    """Return the rules for the options, the same ones for the whole command. No file is read yet."""
    if session.rules is None:
        from arstore.trust.rules import Rules

        session.rules = Rules(session.policy(words["policy"]), words["require_signatures"], session.note)
    return session.rules


def require_admitted(session: Session, store: Store, image: StoredImage, words: PolicyWords) -> None:
    """Return if the policy accepts *image* of *store*. Raises RejectedError, PolicyError."""
    rules = policy_rules(session, words)
    if not rules.is_open:
        from arstore.transport.admission.kept import require_admitted as require

        require(store, image, rules)
