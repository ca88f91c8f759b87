"""Decrypt the keys of layers with the user's private keys.

A separate process does this (`content_keys`) and ends afterwards. So the processes that read the content of layers
later are forked from one that never had a private key, or `cryptography`'s code for it, in its memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore.errors import DecryptionError, UsageError
from arstore.trust.encryption.lock import Lock
from arstore.trust.encryption.options import ContentKey, content_key
from arstore.workers.pool import beside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.trust.encryption.jwe import Message
    from arstore.trust.encryption.jwk import PrivateKey
    from arstore.trust.encryption.key_file import KeyWord

_TRIALS = 4096
"""Uses of a private key in one command, at most. An RSA key of 4096 bits takes 5 ms for each."""
_KEYS = 64
"""Private keys of one command, at most."""


def content_keys(locks: Mapping[str, Lock], words: Sequence[KeyWord]) -> dict[str, ContentKey]:
    """The key of each layer, by the layer's name in messages; *words* are tried in order.

    Raises UsageError for too many keys, KeyFileError for a file without a key, DecryptionError for a layer that none of
    them decrypts.
    """
    if len(words) > _KEYS:
        raise UsageError("--decryption-key", f"is given {len(words)} times, but at most {_KEYS} times are allowed")
    with beside(partial(_opened, locks, words)) as outcome:
        return {name: ContentKey(*parts) for name, parts in outcome().items()}


def _opened(locks: Mapping[str, Lock], words: Sequence[KeyWord]) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Decrypt the keys in this process, which then ends."""
    from arstore.trust.encryption.key_file import read_private

    keys = [read_private(word) for word in words]
    trials = Trials(_TRIALS)
    found = {}
    for name, lock in locks.items():
        key = unlocked(lock, keys, name, trials)
        found[name] = (key.key, key.nonce, key.mac)
    return found


class Trials:
    """Number of times that private keys may still be used."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, count: int, what: str) -> None:
        """Use *count* of them for the layer *what*. Raises DecryptionError."""
        self._left -= count
        if self._left < 0:
            why = f"its image has so many recipients that keys would have to be tried more than {self._most} times"
            raise DecryptionError(what, why, "give only the key that decrypts it")


def unlocked(lock: Lock, keys: Sequence[PrivateKey], what: str, trials: Trials) -> ContentKey:
    """The key of the layer *what*. Raises DecryptionError, which names the kinds of keys that it is encrypted for."""
    from arstore.trust.encryption import jwe

    messages = [jwe.read(raw, what) for raw in lock.jwes]
    for message in messages:
        for key in keys:
            trials.take(sum(jwe.is_for(one, key) for one in message.recipients), what)
            plaintext = jwe.opened(message, key, what)
            if plaintext is not None:
                return content_key(plaintext, lock.public, what)
    if not messages:
        why = f"is encrypted for {', '.join(lock.schemes)} only, which arstore does not support"
        raise DecryptionError(what, why)
    given = f"none of the {len(keys)} given keys decrypts it" if len(keys) > 1 else "the key does not decrypt it"
    raise DecryptionError(what, f"{given}: it is encrypted for {_kinds(messages, lock.schemes)}")


def described(annotations: Mapping[str, str], what: str) -> str:
    """The kinds of keys that the layer *what* is encrypted for, for messages. Raises DecryptionError."""
    from arstore.trust.encryption import jwe

    lock = Lock.read(annotations, what)
    return _kinds([jwe.read(raw, what) for raw in lock.jwes], lock.schemes)


def _kinds(messages: Sequence[Message], schemes: Sequence[str]) -> str:
    count = sum(len(message.recipients) for message in messages)
    algorithms = dict.fromkeys(name for message in messages for name in message.algorithms)
    kinds = [f"{count} {'key' if count == 1 else 'keys'} of jwe ({', '.join(algorithms)})"] if messages else []
    return ", ".join([*kinds, *schemes])
