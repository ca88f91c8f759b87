"""Cipher of a layer: AES-256 in counter mode, and HMAC-SHA256 with the same key over the encrypted bytes.

Source: ocicrypt, blockcipher/blockcipher_aes_ctr.go. The HMAC covers neither the nonce nor the options. Plaintext and
blob have the same length. Both classes keep one piece in memory, whatever the layer's size.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from arstore.errors import DecryptionError
from arstore.trust.encryption.options import KEY, NONCE

if TYPE_CHECKING:
    from arstore.trust.encryption.options import ContentKey


class Decrypting:
    """Decrypts a layer's blob. The plaintext must not be used before `verify` has returned."""

    def __init__(self, key: ContentKey) -> None:
        self._mac = hmac.new(key.key, digestmod="sha256")
        self._expected = key.mac
        self._stream = Cipher(AES(key.key), CTR(key.nonce)).decryptor()

    def update(self, data: bytes | memoryview) -> bytes:
        """The plaintext of the next piece of the blob."""
        self._mac.update(data)
        return self._stream.update(data)

    def verify(self, what: str) -> None:
        """Compare the HMAC of everything that was passed; *what* names the layer. Raises DecryptionError."""
        if not hmac.compare_digest(self._mac.digest(), self._expected):
            why = "its HMAC is wrong: the encrypted bytes, or the annotation with the HMAC, were altered"
            raise DecryptionError(what, why)


class Encrypting:
    """Encrypts plaintext as a layer's blob, with a random key and a random nonce."""

    def __init__(self) -> None:
        self.key = os.urandom(KEY)
        self.nonce = os.urandom(NONCE)
        self._mac = hmac.new(self.key, digestmod="sha256")
        self._stream = Cipher(AES(self.key), CTR(self.nonce)).encryptor()

    def update(self, data: bytes | memoryview) -> bytes:
        """The next piece of the blob."""
        output = self._stream.update(data)
        self._mac.update(output)
        return output

    def mac(self) -> bytes:
        """The HMAC of the whole blob."""
        return self._mac.digest()
