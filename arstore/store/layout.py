"""The store as an OCI image layout: `oci-layout` and `index.json`, derived from the graph.

`index.json` begins with an annotation that has the store's id (`graph.identity`).

Each name is one descriptor with the annotation `org.opencontainers.image.ref.name`. For an image without a name the
annotation holds its digest, so that tools which find images only by that annotation see it too. Attachments come after
the images, with the annotation SUBJECT. Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore import json
from arstore.builtin import Protocol, contextmanager, suppress
from arstore.disk.access import require_writable
from arstore.disk.owner import Owner
from arstore.graph.identity import ANNOTATION, ID
from arstore.graph.records import SUBJECT
from arstore.linux.files.reading import read_file
from arstore.linux.files.writing import replace_file
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change

LAYOUT, INDEX = "oci-layout", "index.json"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_DOCUMENT = b'{"imageLayoutVersion":"1.0.0"}\n'
"""Content of `oci-layout`."""
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_ANNOTATIONS = f' "annotations": {{{{\n  "{ANNOTATION}": "{{}}"\n }}}},\n'

# json.dumps with an indent is pure Python, and takes a second for 10^4 images. These templates give the same output.
_QUOTED = json.encode_basestring_ascii
_DESCRIPTOR = f"""  {{{{
   "mediaType": {{}},
   "digest": {{}},
   "size": {{}},
   "annotations": {{{{
    "{REF_NAME}": """
_ATTACHED = f"""{_DESCRIPTOR}{{}},
    "{SUBJECT}": {{}}
   }}}}
  }}}}"""


class _Typed(Protocol):
    """The part of an image's record that is listed."""

    @property
    def media_type(self) -> str:
        """The media type of its manifest."""


class _Listed(NamedTuple):
    media_type: str


def index_document(
    snapshot: Snapshot, images: Mapping[str, _Typed] | None = None, heads: Mapping[str, str] | None = None
) -> bytes:
    """Return `index.json` for the content of the graph: names in order, then the images without a name.

    *images* are those of *snapshot*, if the caller has them; *heads* are entries from an earlier call, by digest.
    """
    names = snapshot.names_by_digest()
    named: list[tuple[bool, str, str]] = []
    if heads is None:
        heads = _heads(snapshot, images)
    else:
        heads = {digest: heads.get(digest) or _new_head(snapshot, digest) for digest in snapshot.keys("images")}
    for digest, head in heads.items():
        if head:
            named += [(name == digest, name, head) for name in names.get(digest, [digest])]
    named.sort()
    lines = [f"{head}{_QUOTED(name)}\n   }}\n  }}" for _, name, head in named]
    lines += _attached(snapshot)
    manifests = "[\n" + ",\n".join(lines) + "\n ]" if lines else "[]"
    store_id = snapshot.own(ID) or ""
    own = _ANNOTATIONS.format(store_id) if store_id else ""
    return f'{{\n "schemaVersion": 2,\n "mediaType": "{_INDEX_TYPE}",\n{own} "manifests": {manifests}\n}}\n'.encode()


def _attached(snapshot: Snapshot) -> list[str]:
    """Return the entries of attachments. The name is the tag that it has in registries, else its digest."""
    lines = []
    for key, one in snapshot.attachments():
        subject, _, digest = key.partition("/")
        name = f"{subject.replace(':', '-', 1)}.{one.tag}" if one.tag else digest
        fields = (one.media_type, digest, one.size, name, subject)
        quoted = (_QUOTED(field) if isinstance(field, str) else field for field in fields)
        lines.append(_ATTACHED.format(*quoted))
    return lines


def without_id(document: bytes, store_id: str) -> bytes:
    """Return *document* as older versions of arstore wrote it, without the store's id."""
    return document.replace(_ANNOTATIONS.format(store_id).encode(), b"", 1)


def _heads(snapshot: Snapshot, images: Mapping[str, _Typed] | None = None) -> dict[str, str]:
    """Return each image's entry up to its name, by digest; "" for an image whose blob is not recorded."""
    every = snapshot.every("images", _Listed) if images is None else images
    return {digest: _head(snapshot, digest, image.media_type) for digest, image in every.items()}


def _new_head(snapshot: Snapshot, digest: str) -> str:
    image = snapshot.image(digest)
    return _head(snapshot, digest, image.media_type) if image is not None else ""


def _head(snapshot: Snapshot, digest: str, media_type: str) -> str:
    blob = snapshot.blob(digest)
    return _DESCRIPTOR.format(_QUOTED(media_type), _QUOTED(digest), blob.size) if blob is not None else ""


@contextmanager
def published_change(directories: Directories, graph: Graph) -> Iterator[Change]:
    """Run a write transaction of *graph*, then bring `index.json` up to date.

    The new index is written before the commit, so that a full disk is noticed while everything can still be undone. It
    replaces the old one after the commit. Raises OSError and the errors of Graph. On an error nothing has changed,
    unless only that last step failed; the next change then repeats it.
    """
    require_writable(directories.root)
    staged = f"{directories.root}/index.json.{Owner.announced(directories.graph).directory_name()}"
    # Other writers wait for the lock, so most of the index is put together before it is taken.
    with graph.read() as snapshot:
        heads = _heads(snapshot)
    try:
        with graph.write() as change:
            yield change
            moment = change.number()
            document = index_document(change, heads=heads)
            _complete(directories)
            _write_durably(staged, document)
            reached("layout.written")
        reached("layout.committed")
        with graph.write() as change:
            # Consecutive numbers mean that no other process has committed in between.
            current = document if change.number() == moment + 1 else index_document(change, heads=heads)
            if current != document:
                os.unlink(staged)
                _write_durably(staged, current)
            os.rename(staged, f"{directories.root}/index.json")
        reached("layout.placed")
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(staged)
        raise


def write_layout(directories: Directories, graph: Graph) -> None:
    """Bring `index.json` up to date with the graph. Raises OSError and the errors of Graph.

    The writer's lock is held although nothing is written to the graph: of two processes that change the graph at once,
    the later one then writes the index, from both changes. The document is put together before the lock is taken, and
    again only if another process has committed in between.
    """
    with graph.read() as snapshot:
        moment, document = snapshot.number(), index_document(snapshot)
    with graph.write() as change:
        if not change.follows(moment):
            document = index_document(change)
        if _read_document(f"{directories.root}/index.json") != document:
            _replace(f"{directories.root}/index.json", document)
    _complete(directories)


def _complete(directories: Directories) -> None:
    if _read_document(f"{directories.root}/{LAYOUT}") != LAYOUT_DOCUMENT:
        _replace(f"{directories.root}/{LAYOUT}", LAYOUT_DOCUMENT)


def _read_document(path: str) -> bytes:
    try:
        return read_file(path)
    except FileNotFoundError:
        return b""
    except OSError:
        if os.path.isfile(path):
            raise
        return b""


def _replace(path: str, data: bytes) -> None:
    owner = Owner.announced(f"{os.path.dirname(path)}/graph")
    temporary = f"{path}.{owner.directory_name()}"
    replace_file(path, data, temporary, durable=True, written=lambda: reached("layout.replacing"))
    reached("layout.replaced")


def _write_durably(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(fd)
