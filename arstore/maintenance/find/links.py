"""The links of layers and images, as digests in bytes, cut out of their records.

A search needs the links of every layer, of which a store may have 10^5, and nothing else of most of them. Records that
are written as the codec writes them need not be parsed for that, which takes a third of the time. Others are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.graph.snapshot import Snapshot

_DIGITS, _LENGTH = 64, 32
_SHA256 = b"sha256:"
_DIFF_ID, _PARENT, _TREE, _END = b'{"diff_id":"sha256:', b'","parent":"', b',"tree":"sha256:', b'"}'
_NO_PARENT, _NO_TREE = b'","blob', b',"tree":""}'
_PARENT_AT = len(_DIFF_ID) + _DIGITS
_DIGEST_AT = _PARENT_AT + len(_PARENT)
_ZEROS = b"0" * _DIGITS
_LAYER_KEY = b"layers/sha256:"
_TOP, _NO_CONFIG = b',"top":"', b',"config":"",'


class LayerLinks(NamedTuple):
    """Some layers: chain IDs, diff IDs (if wanted), chain IDs of the parents and keys of the trees; b"" for none."""

    chain_ids: list[bytes]
    diff_ids: list[bytes]
    parents: list[bytes]
    trees: list[bytes]


class ImageLinks(NamedTuple):
    """Some images and indexes: digests as text, and the chain IDs of the top layers.

    That is None for an index, and b"" for an image without layers.
    """

    digests: list[str]
    tops: list[bytes | None]


class _Layers(NamedTuple):
    diff_id: list[str]
    parent: list[str]
    tree: list[str]


class _Images(NamedTuple):
    config: list[str]
    top: list[str]


def layer_links(snapshot: Snapshot, *, diff_ids: bool = True) -> Iterator[LayerLinks]:
    """Yield the links of all layers, some at a time; without *diff_ids*, these are empty.

    Raises the errors of Snapshot.
    """
    for rows, texts in snapshot.texts("layers"):
        found = _cut_layers([key for key, _ in rows], texts, diff_ids)
        if found is None:
            chain_ids, fields = snapshot.parsed("layers", _Layers, rows)
            found = LayerLinks(*(list(map(packed, column)) for column in (chain_ids, *fields)))
        yield found


def image_links(snapshot: Snapshot) -> Iterator[ImageLinks]:
    """Yield the links of all images and indexes, some at a time. Raises the errors of Snapshot."""
    for rows, texts in snapshot.texts("images"):
        found = _cut_images([key for key, _ in rows], texts)
        if found is None:
            digests, fields = snapshot.parsed("images", _Images, rows)
            tops = [packed(top) if config else None for config, top in zip(*fields, strict=True)]
            found = ImageLinks(digests, tops)
        yield found


def _cut_layers(keys: Sequence[bytes], texts: Sequence[bytes], diff_ids: bool) -> LayerLinks | None:
    """Return the links of these records; None if one is not written as the codec does, with SHA-256."""
    parents = [text[_DIGEST_AT : _DIGEST_AT + len(_SHA256)] for text in texts]
    ends = [text[-len(_TREE) - _DIGITS - len(_END) : -_DIGITS - len(_END)] for text in texts]
    if (
        {key[: len(_LAYER_KEY)] for key in keys} != {_LAYER_KEY}
        or {text[: len(_DIFF_ID)] for text in texts} != {_DIFF_ID}
        or {text[_PARENT_AT:_DIGEST_AT] for text in texts} != {_PARENT}
        or not {_SHA256, _NO_PARENT}.issuperset(parents)
        or not all(end == _TREE or text.endswith(_NO_TREE) for end, text in zip(ends, texts, strict=True))
    ):
        return None
    try:
        return LayerLinks(
            _packed_all([key[len(_LAYER_KEY) :] for key in keys]),
            _packed_all([text[len(_DIFF_ID) : _PARENT_AT] for text in texts]) if diff_ids else [],
            _packed_all(
                [
                    text[_DIGEST_AT + len(_SHA256) : _DIGEST_AT + len(_SHA256) + _DIGITS] if head == _SHA256 else b""
                    for head, text in zip(parents, texts, strict=True)
                ]
            ),
            _packed_all(
                [
                    text[-_DIGITS - len(_END) : -len(_END)] if end == _TREE else b""
                    for end, text in zip(ends, texts, strict=True)
                ]
            ),
        )
    except ValueError:
        return None


def _cut_images(keys: Sequence[bytes], texts: Sequence[bytes]) -> ImageLinks | None:
    """The same for images. Quotes within a string of JSON are escaped, so a name in quotes is that of a field."""
    digests = [key.partition(b"/")[2].decode("utf-8", "replace") for key in keys]
    tops: list[bytes | None] = []
    for text in texts:
        head, found, rest = text.rpartition(_TOP)
        if not found:
            return None
        top = rest[: rest.find(b'"')]
        if _NO_CONFIG in head:
            tops.append(None)
        elif not top:
            tops.append(b"")
        elif top.startswith(_SHA256) and len(top) == len(_SHA256) + _DIGITS:
            tops.append(packed(top.decode("ascii", "replace")))
        else:
            return None
    return ImageLinks(digests, tops)


def _packed_all(digits: list[bytes]) -> list[bytes]:
    """Return the bytes of digests in hexadecimal digits, b"" for b"". Raises ValueError for anything else."""
    raw = bytes.fromhex(b"".join([some or _ZEROS for some in digits]).decode("ascii"))
    if len(raw) != _LENGTH * len(digits):
        raise ValueError("not digests")
    found = [raw[at : at + _LENGTH] for at in range(0, len(raw), _LENGTH)]
    return found if all(digits) else [one if some else b"" for one, some in zip(found, digits, strict=True)]


def packed(digest: str) -> bytes:
    """Return the bytes of a digest, which take half the memory; b"" for anything else."""
    try:
        return bytes.fromhex(digest.partition(":")[2])
    except ValueError:
        return b""
