"""The connection to one registry: finds out how to reach it, sends requests, authorises and repeats them.

https is used. Plain http is used only if the user allowed it for this registry and https does not work there; a server
that answers a TLS record with a line of HTTP is not asked in https at all. The challenges of the first request
(`GET /v2/`) apply to all requests, because some registries send none when they refuse a request. After a broken
connection, and after a status in `patience.AGAIN`, a request that allows it is sent again. After 401, a request is
repeated once with a new token, and once with more scopes.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, RegistryAnswerError, RegistryUnreachableError
from arstore.registry.auth.authorizer import Authorizer
from arstore.registry.auth.challenge import challenges
from arstore.registry.failure import error_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.exchange import Exchange, Request
from arstore.registry.http.patience import AGAIN, Budget, Patience, retry_after
from arstore.registry.http.redirects import follow
from arstore.registry.http.tls import Tls
from arstore.registry.http.url import PORTS, Url
from arstore.registry.warnings import Warnings
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from arstore.registry.auth.credential import Credential
    from arstore.registry.http.exchange import Answer, Content
    from arstore.registry.http.tls import Certificates

_HUB = ("docker.io", "registry-1.docker.io")
_RENEWALS = 2
_FIRST_TRIES = 3
"""Tries of the first request: few, since it usually fails because of a wrong name or port."""


class Registry(NamedTuple):
    """A registry and how to reach it: `host` is written as in references, perhaps with a port.

    `insecure` allows unverified certificates, and plain http after https.
    """

    host: str
    certificates: Certificates
    credential: Credential | None = None
    insecure: bool = False


class Ask(NamedTuple):
    """A request to a registry: the path after `/v2/`, or a `url` that the registry gave.

    `repeat` allows sending it again after a failure, when it is not known whether the registry has processed it.
    """

    method: str
    path: str = ""
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes | Content | None = None
    url: Url | None = None
    repeat: bool = True
    head: float = 0.0


class RegistryClient:
    """The client of *registry*. Threads may share it, and a forked process may continue to use it."""

    def __init__(self, registry: Registry, patience: Patience, warnings: Warnings, environ: Mapping[str, str]) -> None:
        self.host = registry.host
        self.warnings = warnings
        self.patience = patience
        host = _HUB[1] if registry.host == _HUB[0] else registry.host
        self._secure = Url.parse(f"https://{host}/v2/")
        self._plain = self._secure._replace(scheme="http")
        if self._secure.port == PORTS["https"] and not host.endswith(f":{PORTS['https']}"):
            self._plain = self._plain._replace(port=PORTS["http"])
        self._registry = registry
        tls = Tls(self._secure.host, self._secure.port, not registry.insecure, registry.certificates)
        self.exchange = Exchange(tls, patience, environ)
        self._base: Url | None = None
        self._reaching = Lock()
        self._authorizer: Authorizer | None = None

    @property
    def authorizer(self) -> Authorizer:
        """The authorisation; reaches the registry first. Raises RegistryUnreachableError, RegistryAnswerError."""
        self.reach()
        assert self._authorizer is not None
        return self._authorizer

    def reach(self) -> Url:
        """The URL of `/v2/`; the first call finds it out by requests.

        Raises RegistryUnreachableError, RegistryAnswerError for a server that is not a registry.
        """
        with self._reaching:
            if self._base is None:
                self._base = self._find()
            return self._base

    def accepts_credentials(self) -> bool:
        """Whether the registry accepts the credential; False if it asks for none, so that this is not known.

        Raises RegistryAccessError when the registry refuses it, and the other errors of `send`.
        """
        header = self.authorizer.header(())
        self.send(Ask("GET"), self.host, "to log in", (200,)).discard()
        return bool(header)

    def send(self, ask: Ask, what: str, doing: str, expected: Collection[int]) -> Answer:
        """Send *ask*; return the answer, which has one of the statuses *expected* and must be closed.

        *what* and *doing* are for errors. Raises RegistryUnreachableError, RegistryAccessError, RegistryNotFoundError,
        RegistryAnswerError.
        """
        answer = self.try_send(ask, what, doing)
        if answer.status not in expected:
            raise error_of(answer, what, doing)
        return answer

    def try_send(self, ask: Ask, what: str, doing: str) -> Answer:
        """Like `send`, but return an answer of any status, except those for which all tries were used up."""
        budget = Budget(self.patience, what)
        while True:
            try:
                answer = self.once(ask, what)
            except NetworkFaultError as fault:
                if not (fault.again and ask.repeat):
                    raise RegistryUnreachableError(what, f"{self.host}: {fault.why}") from fault
                budget.failed(f"{self.host}: {fault.why}")
                continue
            if answer.status not in AGAIN or not ask.repeat:
                return answer
            after = retry_after(answer.header("Retry-After"))
            error = error_of(answer, what, doing)
            budget.failed(error.why, after)

    def once(self, ask: Ask, what: str) -> Answer:
        """Send *ask* once, repeated only for authorisation. Raises NetworkFaultError, and the errors of `send`."""
        base = self.reach()
        url = ask.url or base.resolve(ask.path)
        authorizer = self.authorizer
        for renewal in range(_RENEWALS + 1):
            used = authorizer.header(ask.scopes) if url.origin == base.origin else ""
            request = Request(ask.method, url, ask.headers, ask.body, ask.repeat, ask.head)
            answer = follow(self.exchange, request, used, base)
            self.warnings.learn(answer.header_all("Warning"))
            if answer.status != 401 or answer.url.origin != base.origin:
                authorizer.accepted(used)
                return answer
            asked = challenges(answer.header_all("WWW-Authenticate"))
            try:
                again = renewal < _RENEWALS and authorizer.renew(asked, ask.scopes, used)
            except BaseException:
                answer.close()
                raise
            if not again and used:
                return answer
            answer.discard()
            if not again:
                raise authorizer.refusal(what)
        raise AssertionError("the loop has returned")

    def prepare(self) -> None:
        """Prepare for processes that cannot open files: reach the registry, and load what connections need."""
        self.reach()
        self.exchange.prepare()

    def close(self) -> None:
        """Close the connections."""
        self.exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find(self) -> Url:
        base = self._secure
        if self._registry.insecure and base.port == self._plain.port and self.exchange.speaks_plain(base):
            base = self._plain
        try:
            answer = self._ping(base)
        except (NetworkFaultError, ArstoreError) as error:
            if not self._registry.insecure or base is self._plain:
                raise self._unreachable(error) from error
            base = self._plain
            try:
                answer = self._ping(base)
            except NetworkFaultError as fault:
                raise self._unreachable(fault, error) from fault
        self._authorizer = Authorizer(self.exchange, base, self._registry.credential)
        if answer.url.origin == base.origin:
            self._authorizer.learn(challenges(answer.header_all("WWW-Authenticate")))
        answer.discard()
        return base

    def _ping(self, url: Url) -> Answer:
        budget = Budget(self.patience._replace(tries=min(_FIRST_TRIES, self.patience.tries)), self.host)
        while True:
            try:
                answer = follow(self.exchange, Request("GET", url), "", url)
            except NetworkFaultError as fault:
                # Plain http is tried next, so do not wait.
                if not fault.again or (self._registry.insecure and url.scheme == "https"):
                    raise
                budget.failed(fault.why)
                continue
            if answer.status in {200, 401}:
                return answer
            after = retry_after(answer.header("Retry-After"))
            status = answer.status
            error = error_of(answer, self.host, "to answer GET /v2/")
            if status not in AGAIN:
                raise RegistryAnswerError(self.host, f"is not a registry: GET /v2/ returned status {status}") from error
            budget.failed(error.why, after)

    def _unreachable(self, error: Exception, before: Exception | None = None) -> ArstoreError:
        if isinstance(error, ArstoreError):
            return error
        assert isinstance(error, NetworkFaultError)
        hint = ""
        if error.is_plain and not self._registry.insecure:
            hint = "it seems to use plain http, which --tls-verify=false allows"
        elif "certificate" in error.why:
            hint = "put its CA's certificate into certs.d (see --cert-dir)"
        why = error.why
        if isinstance(before, NetworkFaultError | ArstoreError) and before.why != why:
            why = f"https: {before.why}; http: {why}"
        return RegistryUnreachableError(self.host, why, hint)
