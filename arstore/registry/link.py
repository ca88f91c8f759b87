"""Lists in pages: follow the Link header (RFC 8288) on one host, a bounded number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError, RegistryAnswerError, RegistryUnreachableError
from arstore.oci.document import Bounds, Fields, parse
from arstore.pattern import pattern
from arstore.registry.failure import error_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.patience import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arstore.registry.client import Ask
    from arstore.registry.http.exchange import Answer
    from arstore.registry.http.url import Url
    from arstore.registry.repository import Repository

PAGES = 1000
"""Pages of one list that are read at most."""
_LONGEST = 16 << 10
_LINK = pattern(r"[\s,]*<([^<>]*)>((?:[\s]*;[\s]*[^\s;,=]+(?:[\s]*=[\s]*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_REL = pattern(r"(?i);\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*))")
_PAGE = Bounds(document=16 << 20)


def next_link(lines: Iterable[str]) -> str:
    """The target of the first link with the relation `next` in the lines of Link headers; "" if there is none."""
    for line in lines:
        place = 0
        while len(line) <= _LONGEST and (match := _LINK.match(line, place)) is not None:
            relation = _REL.search(match[2])
            words = "" if relation is None else (relation[1] or relation[2] or "")
            if "next" in words.lower().split():
                return match[1].strip()
            place = match.end()
    return ""


def pages(
    repository: Repository,
    ask: Ask,
    what: str,
    doing: str,
    first: Callable[[Answer], object] | None = None,
    bounds: Bounds = _PAGE,
) -> Iterator[tuple[Answer, Fields]]:
    """Yield each page of a list, closed, with its members.

    *first* is called with the first answer before it is read, and may raise an error. Raises LimitError for a list
    without end, RegistryAnswerError for a next page on another host, ManifestError for a body that is not a list, and
    the errors of `RegistryClient.send`.
    """
    seen: set[Url] = set()
    for _ in range(PAGES):
        answer, raw = _page(repository, ask, what, doing, first, bounds)
        first = None
        yield answer, Fields.of(parse(raw, what, bounds), what)
        target = next_link(answer.header_all("Link"))
        if not target:
            return
        base = repository.client.reach()
        asked = ask.url or base.resolve(ask.path)
        seen |= {asked, answer.url}
        url = asked.resolve(target)
        if url.origin != base.origin:
            raise RegistryAnswerError(what, f"the list continues on another host, {url.shown}")
        if url in seen:
            raise RegistryAnswerError(what, "the list returns to a page that was read already")
        ask = ask._replace(url=url)
    raise LimitError(what, f"the list has more than {PAGES} pages")


def _page(
    repository: Repository,
    ask: Ask,
    what: str,
    doing: str,
    first: Callable[[Answer], object] | None,
    bounds: Bounds,
) -> tuple[Answer, bytes]:
    budget = Budget(repository.client.patience, what)
    while True:
        answer = repository.client.try_send(ask, what, doing)
        try:
            if first is not None:
                first(answer)
            if answer.status != 200:
                raise error_of(answer, what, doing)
            raw = answer.read_all(bounds.document)
        except NetworkFaultError as fault:
            if not fault.again:
                raise RegistryUnreachableError(what, fault.why) from fault
            budget.failed(fault.why)
            continue
        finally:
            answer.close()
        if len(raw) > bounds.document:
            raise bounds.passed("document", what, f"is a page of more than {bounds.document} bytes")
        return answer, raw
