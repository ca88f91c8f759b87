"""Errors from a registry's refusals: the error document is read, bounded, and reduced to one line.

Distribution-spec, "Error Codes". The body may be JSON of two shapes, HTML, or nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, RegistryAccessError, RegistryAnswerError, RegistryNotFoundError
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.registry.http.connection import NetworkFaultError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.registry.http.exchange import Answer

_MOST = 1 << 20
_SHOWN = 1000
_ABSENT = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"})
_DENIED = frozenset({"UNAUTHORIZED", "DENIED"})
_PART = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})
_DIGEST = pattern(rb"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})(?![0-9a-f])")


class Refusal(NamedTuple):
    """A status with the codes and the message of its error document; they are empty if there is none.

    `named` has all digests in it; registries put the digest of a missing blob into different fields.
    """

    status: int
    codes: tuple[str, ...] = ()
    message: str = ""
    named: frozenset[str] = frozenset()

    @property
    def is_absent(self) -> bool:
        """Whether the requested object does not exist."""
        if self.status == 404 or not _ABSENT.isdisjoint(self.codes):
            return True
        return "UNKNOWN" in self.codes and "not found" in self.message.lower()

    @property
    def lacks_parts(self) -> bool:
        """Whether a manifest was refused because something that it points to is missing."""
        return not _PART.isdisjoint(self.codes)

    def __str__(self) -> str:
        words = ", ".join((*self.codes, f"status {self.status}"))
        return f"{self.message} ({words})" if self.message else f"({words})"


def refusal_of(answer: Answer) -> Refusal:
    """Read the error document of *answer*, and close it."""
    try:
        body = answer.read_all(_MOST) if answer.status >= 300 else b""
    except NetworkFaultError:
        body = b""
    answer.close()
    named = frozenset(one.decode("ascii") for one in _DIGEST.findall(body))
    return Refusal(answer.status, *error_body(body[:_MOST]), named)


def error_of(answer: Answer, what: str, doing: str) -> ArstoreError:
    """The error that *answer* means for *what* while *doing* it, as `error_for`; reads and closes the answer."""
    return error_for(refusal_of(answer), what, doing)


def error_for(refusal: Refusal, what: str, doing: str) -> ArstoreError:
    """The error that *refusal* means: RegistryNotFoundError, RegistryAccessError or RegistryAnswerError."""
    if refusal.status in {401, 403} or (refusal.status >= 400 and not _DENIED.isdisjoint(refusal.codes)):
        hint = "the name may be wrong or private; `arstore login` stores credentials" if refusal.status == 401 else ""
        return RegistryAccessError(what, f"the registry refuses {doing}: {refusal}", hint)
    if refusal.is_absent:
        return RegistryNotFoundError(what, f"is not in the registry: {refusal}")
    if refusal.status < 300:
        return RegistryAnswerError(what, f"the registry answers with status {refusal.status} when asked {doing}")
    return RegistryAnswerError(what, f"the registry fails {doing}: {refusal}")


def error_body(body: bytes) -> tuple[tuple[str, ...], str]:
    """The codes and the message in the body of a refusal, reduced to one line."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return (), _plain(text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return (), _plain(text)
    entries = document.get("errors")
    codes: list[str] = []
    messages: list[str] = []
    for entry in entries[:5] if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            if isinstance(entry.get("code"), str) and entry["code"]:
                codes.append(shown(entry["code"], 60))
            if isinstance(entry.get("message"), str) and entry["message"]:
                messages.append(entry["message"])
    if not codes and not messages:
        messages = [document[key] for key in ("details", "message", "error") if isinstance(document.get(key), str)]
    return tuple(dict.fromkeys(codes)), _line("; ".join(dict.fromkeys(messages)))


def _plain(text: str) -> str:
    """The text of a body that is not an error document; "" for markup, which does not help people."""
    return "" if text.lstrip().startswith("<") else _line(text[:200])


def _line(text: str) -> str:
    return shown(" ".join(text[: _SHOWN * 4].split()), _SHOWN)
