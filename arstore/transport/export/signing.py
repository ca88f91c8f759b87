"""Sign copies while they are written: everything that is listed at the destination, and the images of indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ConversionError
from arstore.transport.signing.place import attach
from arstore.transport.sink import ALL, SIGNATURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.signing.signer import Made, Signer
    from arstore.transport.sink import ImageSink, OutgoingImage


def sign_copies(
    signer: Signer,
    sink: ImageSink,
    tops: Sequence[OutgoingImage],
    below: Mapping[Digest, Sequence[Digest]],
    documents: Mapping[Digest, tuple[Descriptor, bytes]],
) -> int:
    """Sign *tops* and everything that they list; return the number of signatures.

    *below* has the members of the indexes that were written, *documents* the documents that were written, both by
    digest. An image of an index is signed under the index's names, because readers expect that. Raises ConversionError
    for a medium that cannot hold signatures, and the errors of `Signer.sign` and of the sink.
    """
    made: list[Made] = []
    for top in tops:
        todo = [top.descriptor.digest]
        for digest in todo:
            todo += [one for one in below.get(digest, ()) if one not in todo]
            if digest in documents:
                made += signer.sign(*documents[digest], top.names, sink.what)
    if sink.traits.attachments == ALL:
        attach(sink, made)
    elif sink.traits.attachments == SIGNATURES:
        for one in made:
            if one.file is None:
                raise ConversionError(sink.what, "cannot hold a bundle", "sign without --sign-bundle")
            sink.put_signature(one.attachment.subject, one.file)
    else:
        raise ConversionError(sink.what, "cannot hold signatures", "choose another destination")
    return len(made)
