"""Options and results of a copy to a medium: the values that a command line, or a program, gives and gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.tar.compression import Compression
    from arstore.transport.export.encryption import Encryption
    from arstore.transport.signing.signer import Signer
    from arstore.transport.sink import OutgoingImage


class ExportOptions(NamedTuple):
    """Options of a copy: the *form* of documents (`conversion.FORMATS`), the *compression* of layers and its *level*.

    By default, nothing is changed. *preserve_digests* refuses a copy that has to change a digest. *every* also copies
    what an index lists besides images, such as attestations. *encryption* names the recipients and the layers to
    encrypt. *signer* signs everything that is written. *remove_signatures* leaves signatures behind; without it, a copy
    that would change a signed image is refused.
    """

    form: str = ""
    compression: Compression | None = None
    level: int | None = None
    preserve_digests: bool = False
    every: bool = False
    limits: Limits = DEFAULT_LIMITS
    encryption: Encryption | None = None
    signer: Signer | None = None
    remove_signatures: bool = False

    @property
    def converts(self) -> bool:
        """Whether an option is set that may change documents."""
        return bool(self.form) or self.compression is not None or self.encryption is not None


class Exported(NamedTuple):
    """The result of a copy: what is listed, with its names, and all images.

    `sparse` counts entries of indexes that were not copied but are still listed; `dropped` counts those that are not
    listed, because their index was converted. `locked` counts the layers that were copied encrypted. `attached` counts
    the attachments that were copied, `left` those that were not, because the medium cannot hold them, or because the
    image has another digest now.
    """

    tops: tuple[OutgoingImage, ...]
    images: tuple[OutgoingImage, ...]
    sparse: int = 0
    dropped: int = 0
    locked: int = 0
    attached: int = 0
    left: int = 0
