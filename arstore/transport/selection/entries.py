"""Find the images among the entries that a source lists, by media types, annotations and platforms.

An entry that cannot be read, or whose content is invalid, counts as an image: the error is raised when it is needed.
Not in scope: choosing among the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, LimitError, MissingBlobError
from arstore.oci.descriptor import REFERENCE_TYPE, Descriptor
from arstore.oci.document import shown
from arstore.oci.media_type import is_config, may_be_image
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from collections.abc import Hashable

    from arstore.oci.descriptor import Flawed
    from arstore.tar.limits import Limits
    from arstore.transport.documents import Documents
    from arstore.transport.selection.candidates import Candidates
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource, SourceImage


def image_entries(
    source: ImageSource, documents: Documents, candidates: Candidates, skipped: SkippedTop, limits: Limits
) -> list[SourceImage]:
    """The entries of *source* that are images or indexes of images; *skipped* records the others.

    Raises LimitError, and the errors of the source.
    """
    found = []
    count = 0
    lists: dict[Hashable, str] = {}
    for image in source.images():
        entry = image.descriptor
        documents.work.visit()
        count += may_be_image(entry.media_type)
        if count > limits.images:
            raise LimitError(source.what, f"lists more than {limits.images} images", raising("images"))
        why = why_no_image(entry, documents)
        if not why:
            # An index is visited once, however often it is listed.
            key = (type(entry), entry.digest, entry.media_type)
            if key not in lists:
                lists[key] = _why_no_index(entry, documents, candidates)
            why = lists[key]
        if why:
            skipped.add(entry, why, () if image.names == (image.fallback,) else image.names)
        else:
            found.append(image)
    unnamed = [image for image in found if not image.names and image.fallback]
    if len(unnamed) != 1:
        return found
    return [image._replace(names=(image.fallback,)) if image is unnamed[0] else image for image in found]


def why_no_image(entry: Descriptor | Flawed, documents: Documents) -> str:
    """Describe, for people, an *entry* that is not an image or an index; "" if it is one, or cannot be read.

    Raises LimitError.
    """
    if not may_be_image(entry.media_type):
        return f"not an image, but {shown(entry.media_type)}"
    try:
        if documents.is_foreign(entry):
            return "not an image, but content without a media type that is neither a manifest nor an index"
        nature = documents.nature(entry)
    except MissingBlobError:
        # Only the descriptor is there.
        kind = entry.artifact_type if isinstance(entry, Descriptor) else ""
        if kind and not is_config(kind):
            return f"not an image, but {shown(kind)}"
    except LimitError:
        raise
    except ArstoreError:
        return ""
    else:
        if nature.artifact:
            return f"not an image, but {shown(nature.artifact)}"
    return "not an image, but an attestation" if _is_attestation(entry) else ""


def _why_no_index(entry: Descriptor | Flawed, documents: Documents, candidates: Candidates) -> str:
    """Like `why_no_image`, for an index that contains nothing that may be an image."""
    try:
        if (
            isinstance(entry, Descriptor)
            and documents.nature(entry).is_index
            and not _has_images(entry, documents, candidates)
        ):
            return "an index that lists no image"
    except LimitError:
        raise
    except ArstoreError:
        return ""
    return ""


def _has_images(index: Descriptor, documents: Documents, candidates: Candidates) -> bool:
    below = candidates.below(index)
    if any(one.platform is not None and one.platform.is_known for one in below):
        # Known without reading anything: images for other platforms may be missing.
        return True
    return any(not why_no_image(one.entry, documents) for one in below)


def _is_attestation(entry: Descriptor | Flawed) -> bool:
    """Whether an entry is marked as an attestation of another one, in BuildKit's way."""
    return REFERENCE_TYPE in entry.annotations or (entry.platform is not None and entry.platform.is_denied)
