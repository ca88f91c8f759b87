"""Facts from the documents of one source. Each document is parsed once, however many things point to it.

Documents are identified by digest, and are verified before they come here. Their bytes are kept, since they are
published with the images, and so are the few facts that an import needs. Not in scope: where documents are read from
(`documents`), and which of them are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, LimitError, ManifestError
from arstore.oci.chain import chain_ids
from arstore.oci.config import ImageConfig
from arstore.oci.document import as_object, is_json, parse_value
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest, artifact_of
from arstore.oci.media_type import document_type, is_foreign, is_index, is_mark
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.media.bounds import bounds_of
from arstore.transport.work import Work
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from arstore.digest import Digest
    from arstore.oci.document import Bounds
    from arstore.oci.platform import Platform


class Nature(NamedTuple):
    """Kind of a document: an index, the manifest of an image, or the manifest of an `artifact` of that type."""

    is_index: bool = False
    artifact: str = ""
    media_type: str = ""


class ConfigFacts(NamedTuple):
    """The facts in a config that an import needs; diff IDs and chain IDs are listed bottom first."""

    platform: Platform
    created: str
    diff_ids: tuple[Digest, ...]
    chain_ids: tuple[Digest, ...]


class _Parsed(NamedTuple):
    """A manifest or an index: the members that show its type, its listing, or the error why there is no listing."""

    marks: dict[str, Any] | None = None
    """None for content that is not JSON, not strict enough, or not an object."""
    listing: Manifest | Index | None = None
    artifact: str = ""
    is_foreign: bool = False
    error: ArstoreError | None = None


class Facts:
    """The documents of the source *what*. *size* is as for `Work`; without *bounds*, those of *limits* apply."""

    def __init__(
        self, what: str, limits: Limits = DEFAULT_LIMITS, bounds: Bounds | None = None, size: int | None = None
    ) -> None:
        self.limits = limits
        self.bounds = bounds_of(limits) if bounds is None else bounds
        self.work = Work(what, limits, size)
        self._raw: dict[Digest, bytes] = {}
        self._parsed: dict[Digest, _Parsed] = {}
        self._natures: dict[tuple[Digest, str], Nature] = {}
        self._configs: dict[Digest, ConfigFacts | ArstoreError] = {}
        self._foreign: dict[Digest, bool] = {}
        self._referred: set[Digest] = set()

    def raw(self, digest: Digest) -> bytes | None:
        """The bytes of a document that was kept; None for any other."""
        return self._raw.get(digest)

    def keep(self, digest: Digest, data: bytes) -> bytes:
        """Keep *data*, which has this *digest* (verified). Raises LimitError."""
        if digest not in self._raw:
            self.work.hold(data)
            self._raw[digest] = data
        return data

    def nature(self, digest: Digest, media_type: str, what: str = "") -> Nature:
        """The kind of the kept document; the announced *media_type* and the document itself must agree.

        *what* names it in errors. Raises ManifestError for a document of two kinds or of neither, and LimitError.
        """
        known = self._natures.get((digest, media_type))
        if known is None:
            what = what or f"{'index' if is_index(media_type) else 'manifest'} {digest}"
            parsed = self._parse(digest, what)
            if parsed.marks is None:
                raise _again(parsed.error)
            own = document_type(parsed.marks, media_type or None, what)
            known = Nature(is_index(own), "" if is_index(own) else parsed.artifact, own)
            self._natures[digest, media_type] = known
        return known

    def manifest(self, digest: Digest, media_type: str) -> Manifest:
        """The kept manifest; its `media_type` is that of its `nature`. Raises ManifestError, LimitError."""
        found = self._listing(digest, media_type)
        if not isinstance(found, Manifest):
            raise ManifestError(f"manifest {digest}", "is an index, not a manifest")
        return found

    def index(self, digest: Digest, media_type: str) -> Index:
        """The kept index; its `media_type` is that of its `nature`. Raises ManifestError, LimitError."""
        found = self._listing(digest, media_type)
        if not isinstance(found, Index):
            raise ManifestError(f"index {digest}", "is a manifest, not an index")
        return found

    def config(self, digest: Digest, what: str = "") -> ConfigFacts:
        """The facts in the kept config. Raises ManifestError, LimitError."""
        known = self._configs.get(digest)
        if known is None:
            known = self._configs[digest] = self._read_config(digest, what or f"config {digest}")
        if isinstance(known, ArstoreError):
            raise _again(known)
        return known

    def is_foreign(self, digest: Digest) -> bool:
        """Whether the kept document, which has no media type, is certainly not a document of an image."""
        known = self._foreign.get(digest)
        if known is None:
            parsed = self._parse(digest, f"blob {digest}")
            if parsed.marks is None and isinstance(parsed.error, LimitError):
                raise _again(parsed.error)
            known = parsed.is_foreign
            if parsed.marks is None and not known:
                # Another reader may accept this JSON as an image, for example one that allows a key twice.
                known = not is_json(self._raw[digest], f"blob {digest}", self.bounds)
            self._foreign[digest] = known
        return known

    def refer(self, digest: Digest, count: int) -> None:
        """Count the layers of the image *digest*, once per image. Raises LimitError."""
        if digest not in self._referred:
            self.work.refer(count)
            self._referred.add(digest)

    def _listing(self, digest: Digest, media_type: str) -> Manifest | Index | None:
        self.nature(digest, media_type)
        parsed = self._parsed[digest]
        if parsed.error is not None:
            raise _again(parsed.error)
        return parsed.listing

    def _parse(self, digest: Digest, what: str) -> _Parsed:
        known = self._parsed.get(digest)
        if known is None:
            raw = self._raw[digest]
            self.work.parse(raw)
            known = self._parsed[digest] = _read(raw, digest, what, self.bounds)
        return known

    def _read_config(self, digest: Digest, what: str) -> ConfigFacts | ArstoreError:
        raw = self._raw[digest]
        self.work.parse(raw)
        try:
            config = ImageConfig.parse(raw, what, self.bounds)
        except ArstoreError as error:
            return error
        return ConfigFacts(config.platform, config.created, config.diff_ids, chain_ids(config.diff_ids))


def _read(raw: bytes, digest: Digest, what: str, bounds: Bounds) -> _Parsed:
    """Parse a manifest or an index. Errors are stored, and raised when the faulty part is requested."""
    try:
        value = parse_value(raw, what, bounds)
    except ArstoreError as error:
        return _Parsed(error=error)
    try:
        document = as_object(value, what)
    except ManifestError as error:
        return _Parsed(error=error, is_foreign=True)
    marks = {key: _mark(member) for key, member in document.items() if is_mark(key)}
    found = _Parsed(marks, is_foreign=is_foreign(document))
    try:
        if is_index(document_type(document, None, what)):
            return found._replace(listing=Index.of(document, raw, f"index {digest}", None, bounds))
        found = found._replace(artifact=artifact_of(document))
        return found._replace(listing=Manifest.of(document, raw, f"manifest {digest}", None, bounds))
    except ArstoreError as error:
        return found._replace(error=error)


def _mark(member: object) -> object:
    """A member that shows a document's type, without its content."""
    if isinstance(member, dict):
        return {}
    return [] if isinstance(member, list) else member


def _again(error: ArstoreError | None) -> ArstoreError:
    """*error* without its traceback: the frames would pile up and keep their variables in memory."""
    assert error is not None
    return error.with_traceback(None)
