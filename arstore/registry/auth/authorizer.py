"""Authorise the requests to one registry with one credential: learn its challenges, fetch tokens, keep them.

A token is kept for the scopes that it was fetched for. Only one is fetched at a time: threads that need the same token
wait. Kept tokens are sent only to the registry's own origin (`redirects`).
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from arstore.errors import RegistryAccessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.registry.auth.challenge import Challenge
    from arstore.registry.auth.credential import Credential
    from arstore.registry.auth.token import Token
    from arstore.registry.http.exchange import Exchange
    from arstore.registry.http.url import Url

Scopes = tuple[str, ...]

_MOST_TOKENS = 1000
_MOST_SCOPES = 20
"""Scopes that a registry may add to the requested ones."""


class Authorizer:
    """The authorisation of requests to *registry*, with *credential* or anonymously."""

    def __init__(self, exchange: Exchange, registry: Url, credential: Credential | None) -> None:
        self._exchange = exchange
        self._registry = registry
        self._credential = credential
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, Token] = {}
        self._locks: dict[Scopes, Lock] = {}
        self._more: dict[Scopes, Scopes] = {}
        self._accepted: set[str] = set()
        self._guard = Lock()
        self._process = os.getpid()

    def learn(self, challenges: Sequence[Challenge]) -> None:
        """Remember the registry's demand: the first challenge of a supported scheme."""
        for challenge in challenges:
            if challenge.scheme in {"basic", "bearer"}:
                self._challenge = challenge
                return

    def header(self, scopes: Scopes) -> str:
        """The value of Authorization for a request that needs *scopes*; "" for none. Raises RegistryError."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return "" if self._credential is None else self._credential.basic
        return f"Bearer {self._token(challenge, scopes, refused='').value}"

    def renew(self, challenges: Sequence[Challenge], scopes: Scopes, used: str) -> bool:
        """Prepare to repeat a request for which the header *used* was refused; return whether to repeat it.

        Raises RegistryError.
        """
        self.learn(challenges)
        challenge = self._challenge
        if challenge is None:
            return False
        if challenge.scheme == "basic":
            return bool(self._credential is not None and self._credential.basic and self._credential.basic != used)
        more = set(challenge.parameters.get("scope", "").split()) - set(self._wanted(scopes))
        if more and len(self._more.get(scopes, ())) < _MOST_SCOPES:
            self._more[scopes] = (*self._more.get(scopes, ()), *sorted(more)[:_MOST_SCOPES])
        elif used and used not in self._accepted:
            return False  # fetched for exactly these scopes, and never accepted
        self._token(challenge, scopes, refused=used.removeprefix("Bearer "))
        return True

    def accepted(self, used: str) -> None:
        """Remember that the registry accepted the header *used*: if it refuses it later, the token has expired."""
        if used.startswith("Bearer ") and used not in self._accepted:
            with self._guard:
                if len(self._accepted) > _MOST_TOKENS:
                    self._accepted.clear()
                self._accepted.add(used)

    def remaining(self, scopes: Scopes) -> float:
        """Seconds for which the token for *scopes* is still valid; infinite if there is no token."""
        token = self._tokens.get(self._wanted(scopes))
        return float("inf") if token is None else token.until - self._exchange.patience.clock()

    def forget(self, scopes: Scopes) -> None:
        """Fetch a new token for the next request that needs *scopes*."""
        self._tokens.pop(self._wanted(scopes), None)

    def refusal(self, what: str) -> RegistryAccessError:
        """The error for a registry that refuses our credentials, or our lack of them."""
        host = self._registry.address
        hint = f"`arstore login {host}` stores credentials"
        if self._credential is None:
            return RegistryAccessError(what, f"{host} requires credentials, but none are known for it", hint)
        return RegistryAccessError(what, f"{host} refuses the credentials", hint)

    def _wanted(self, scopes: Scopes) -> Scopes:
        return tuple(dict.fromkeys((*scopes, *self._more.get(scopes, ()))))

    def _token(self, challenge: Challenge, scopes: Scopes, refused: str) -> Token:
        wanted = self._wanted(scopes)
        with self._lock(wanted):
            token = self._tokens.get(wanted)
            now = self._exchange.patience.clock()
            if token is None or token.until <= now or token.value == refused:
                from arstore.registry.auth.token import fetch_token  # many registries need no token

                token = fetch_token(self._exchange, challenge, self._registry, wanted, self._credential)
                self._tokens[wanted] = token
            return token

    def _lock(self, scopes: Scopes) -> Lock:
        if self._process != os.getpid():
            self._process, self._guard, self._locks = os.getpid(), Lock(), {}
        with self._guard:
            return self._locks.setdefault(scopes, Lock())
