"""Bearer tokens: find the token server in a challenge, and fetch a token by GET or by OAuth2's POST.

Formats: the distribution project's token and oauth documents. Credentials are sent only to the realm that the registry
itself named. It must be protected at least as well as the registry, and must not be inside a private network that the
registry is not part of.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from arstore.errors import RegistryAccessError, RegistryAnswerError, RegistryUnreachableError
from arstore.oci.document import shown
from arstore.registry.failure import refusal_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.exchange import Exchange, Request
from arstore.registry.http.patience import AGAIN, Budget, retry_after
from arstore.registry.http.redirects import follow
from arstore.registry.http.url import Url
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.registry.auth.challenge import Challenge
    from arstore.registry.auth.credential import Credential
    from arstore.registry.http.exchange import Answer

_MOST = 1 << 20
_SHORTEST = 60.0
"""Seconds that a token is valid at least, even if its issuer says less."""
_EARLY = 10.0
"""Seconds before its expiry from which a token is no longer used."""


class Token(NamedTuple):
    """A bearer token, and the time (of the exchange's clock) from which it must not be used."""

    value: str
    until: float

    def __repr__(self) -> str:
        return "Token(…)"


def realm_of(challenge: Challenge, registry: Url) -> Url:
    """The URL that *challenge*, sent by *registry*, names as its realm.

    Raises RegistryAnswerError for a URL to which credentials must not be sent.
    """
    text = challenge.parameters.get("realm", "")
    if not text:
        raise RegistryAnswerError(registry.address, "asks for a token but does not say where to get it")
    realm = Url.parse(text)
    if registry.scheme == "https" and realm.scheme != "https":
        why = f"sends us to {realm.shown} for a token, but credentials would be sent there unencrypted"
        raise RegistryAnswerError(registry.address, why)
    if realm.host != registry.host and _is_inside(realm.host) and not _is_inside(registry.host):
        why = f"sends us to {realm.shown} for a token, which is an address inside a private network"
        raise RegistryAnswerError(registry.address, why)
    return realm


def _is_inside(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return False


def fetch_token(
    exchange: Exchange, challenge: Challenge, registry: Url, scopes: Sequence[str], credential: Credential | None
) -> Token:
    """Get a token for *scopes* as *challenge* says.

    Raises RegistryAccessError when the credentials are refused, RegistryAnswerError, RegistryUnreachableError.
    """
    realm = realm_of(challenge, registry)
    service = challenge.parameters.get("service", "")
    if credential is not None and credential.identity_token:
        form = [("grant_type", "refresh_token"), ("refresh_token", credential.identity_token)]
        answer = _sent(exchange, _post(realm, form, service, scopes))
    else:
        answer = _sent(exchange, _get(realm, service, scopes, credential))
        if answer.status in {404, 405} and credential is not None:
            answer.discard()
            form = [("grant_type", "password"), ("username", credential.user), ("password", credential.password)]
            answer = _sent(exchange, _post(realm, form, service, scopes))
    return _token(answer, registry, exchange.patience.clock())


def _get(realm: Url, service: str, scopes: Sequence[str], credential: Credential | None) -> Request:
    fields = [("service", service)] if service else []
    fields += [("scope", scope) for scope in scopes]
    basic = "" if credential is None else credential.basic
    if credential is not None and basic:
        fields.append(("account", credential.user))
    query = urlencode(fields)
    mark = "&" if "?" in realm.target else "?"
    url = realm._replace(target=f"{realm.target}{mark}{query}" if query else realm.target)
    return Request("GET", url, {"Authorization": basic} if basic else {})


def _post(realm: Url, form: list[tuple[str, str]], service: str, scopes: Sequence[str]) -> Request:
    fields = [*form, ("service", service), ("client_id", "arstore")]
    if scopes:
        fields.append(("scope", " ".join(scopes)))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request("POST", realm, headers, urlencode(fields).encode("ascii"))


def _sent(exchange: Exchange, request: Request) -> Answer:
    budget = Budget(exchange.patience, request.url.shown)
    while True:
        try:
            # The Authorization header is sent only to the realm's origin; a form is not sent to any other place.
            answer = follow(exchange, request, request.headers.get("Authorization", ""), request.url)
        except NetworkFaultError as fault:
            if not fault.again:
                raise RegistryUnreachableError(request.url.shown, fault.why) from fault
            budget.failed(fault.why)
            continue
        if answer.status not in AGAIN:
            return answer
        after = retry_after(answer.header("Retry-After"))
        answer.discard()
        budget.failed(f"the token server answers with status {answer.status}", after)


def _token(answer: Answer, registry: Url, now: float) -> Token:
    host = registry.address
    if answer.status in {400, 401, 403}:
        refusal = refusal_of(answer)
        raise RegistryAccessError(host, f"the token server refuses the credentials: {refusal}", _login(host))
    if answer.status != 200:
        raise RegistryAnswerError(host, f"the token server fails: {refusal_of(answer)}")
    try:
        body = answer.read_all(_MOST)
    except NetworkFaultError as fault:
        raise RegistryUnreachableError(host, f"the token server fails: {fault.why}") from fault
    answer.close()
    try:
        document = json.loads(body) if len(body) <= _MOST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistryAnswerError(host, "the token server's answer is not a JSON object of at most 1 MiB")
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise RegistryAnswerError(host, "the token server's answer has no token")
    return Token(value, now + _lifetime(document) - _EARLY)


def _lifetime(document: dict[str, object]) -> float:
    given = document.get("expires_in")
    lifetime = float(given) if isinstance(given, int | float) and 0 < given < 10**9 else _SHORTEST
    return max(_SHORTEST, lifetime - _age(document.get("issued_at")))


def _age(issued_at: object) -> float:
    """Seconds since a token was issued; 0 if that is missing, or in the future (clocks differ)."""
    if not isinstance(issued_at, str) or len(issued_at) > 64:
        return 0.0
    from datetime import datetime

    try:
        issued = datetime.fromisoformat(issued_at)
        return max(0.0, (datetime.now(UTC) - issued).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _login(host: str) -> str:
    return f"`arstore login {shown(host)}` stores new credentials"
