"""OpenPGP messages without a signature, or with one by a wrong key. gpg and pysequoia refuse them all."""

from __future__ import annotations

import random
import zlib

from support.gpg import PAST
from support.signing import STATEMENT
from trust.attacking.world import Attack

from arstore.trust.openpgp.verify import opened, verify, verify_statement
from arstore.trust.payload import COSIGN, SIMPLE, write_statement
from arstore.trust.signature import LARGEST

_GOOD = "good@example.org"
_TEXT = write_statement(STATEMENT, SIMPLE)
_WHILE_VALID = ("--faked-system-time", f"{PAST}!")


def _of(make, key=_GOOD):
    """Verify the message of *make* with gpg, with the public key of *key*."""

    def attempt(world, gpg=None):
        blob = make(world.gpg)
        return verify(blob, [world.gpg.public(key)], gpg)

    return attempt


def _signed(*options, key=_GOOD, verb="--sign", data=_TEXT):
    return lambda gpg: gpg.sign(key, data, *options, verb=verb)


def _plain(gpg, data=_TEXT):
    return gpg.run("-z", "0", "--output", "-", "--store", data=data)


def _deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\xa3\x01" + packer.compress(data) + packer.flush()


def _revoked(gpg):
    made = gpg.sign("revoked@example.org", _TEXT)
    gpg.revoke(gpg.fingerprint("revoked@example.org"))
    return made


def _revoked_subkey(gpg):
    made = gpg.sign("subkey@example.org", _TEXT)
    gpg.revoke_subkey(gpg.fingerprint("subkey@example.org"))
    return made


def _states(payload):
    def attempt(world, gpg=None):
        with opened([world.gpg.public(_GOOD)], gpg) as keys:
            return verify_statement(world.gpg.sign(_GOOD, payload), keys)

    return attempt


def _keyring(*files):
    def attempt(world, gpg=None):
        return verify(world.gpg.sign(_GOOD, _TEXT), [make(world.gpg) for make in files], gpg)

    return attempt


_MESSAGES = {
    "in clear text": (_of(_signed(verb="--clearsign")), ""),
    "in armour": (_of(_signed("--armor")), ""),
    "detached from its text": (_of(_signed(verb="--detach-sign")), ""),
    "without a signature": (_of(_plain), ""),
    "without a signature, compressed": (_of(lambda gpg: _deflated(_plain(gpg))), ""),
    "encrypted and not signed": (
        lambda w, gpg=None: verify(
            w.gpg.run("--passphrase", "x", "--symmetric", "--output", "-", data=_TEXT), [w.gpg.public(_GOOD)], gpg
        ),
        "",
    ),
    "by a key that is not in the keyring": (_of(_signed(key="other@example.org")), ""),
    "by two keys, one of them trusted": (_of(_signed("--local-user", "other@example.org")), ""),
    "by a key that has expired since": (
        _of(_signed(*_WHILE_VALID, key="expired@example.org"), "expired@example.org"),
        "",
    ),
    "by a subkey that has expired since": (
        _of(_signed(*_WHILE_VALID, key="expired-subkey@example.org"), "expired-subkey@example.org"),
        "",
    ),
    "that has expired itself": (
        _of(_signed(*_WHILE_VALID, "--default-sig-expire", "1d", key="old@example.org"), "old@example.org"),
        "",
    ),
    "by a key that was revoked": (_of(_revoked, "revoked@example.org"), ""),
    "by a subkey that was revoked": (_of(_revoked_subkey, "subkey@example.org"), ""),
    "over SHA-1": (_of(_signed("--digest-algo", "SHA1")), ""),
    "twice in a row": (_of(lambda gpg: gpg.sign(_GOOD, _TEXT, "-z", "0") * 2), ""),
    "followed by unsigned text": (
        _of(lambda gpg: gpg.sign(_GOOD, _TEXT, "-z", "0") + _plain(gpg, b"evil")),
        "CVE-2007-1263",
    ),
    "preceded by unsigned text": (
        _of(lambda gpg: _plain(gpg, b"evil") + gpg.sign(_GOOD, _TEXT, "-z", "0")),
        "CVE-2007-1263",
    ),
    "preceded by unsigned text, compressed": (
        _of(lambda gpg: _deflated(_plain(gpg, b"evil") + gpg.sign(_GOOD, _TEXT, "-z", "0"))),
        "CVE-2007-1263",
    ),
    "with another text": (_of(lambda gpg: gpg.sign(_GOOD, _TEXT, "-z", "0").replace(b"app:1", b"app:2")), ""),
    "cut by five bytes": (_of(lambda gpg: gpg.sign(_GOOD, _TEXT)[:-5]), ""),
    "cut to its first byte": (_of(lambda gpg: gpg.sign(_GOOD, _TEXT)[:1]), ""),
    "that is empty": (_of(lambda gpg: b""), ""),
    "that begins correctly and continues with random bytes": (
        _of(lambda gpg: b"\xa3" + random.Random(1).randbytes(4096)),
        "",
    ),
    "that is a public key": (_of(lambda gpg: gpg.public(_GOOD)), ""),
    "that contains gpg's status lines": (_of(lambda gpg: _deflated(b"[GNUPG:] GOODSIG 0 x\n[GNUPG:] VALIDSIG\n")), ""),
    "whose file name contains a good status line": (
        _of(lambda gpg: gpg.run("--set-filename", "x\n[GNUPG:] GOODSIG A B", "--output", "-", "--store", data=_TEXT)),
        "CVE-2018-12020",
    ),
    "whose file name contains a good status line, by another key": (
        _of(_signed("--set-filename", "x\n[GNUPG:] GOODSIG A B\n[GNUPG:] VALIDSIG A", key="other@example.org")),
        "CVE-2018-12020",
    ),
    "of 64 MiB, compressed to a few": (_of(_signed("-z", "9", data=bytes(64 << 20))), "a bomb"),
    "of more than 4 MiB": (_of(lambda gpg: b"\xa3" + bytes(LARGEST)), ""),
    "with the statement of a sigstore signature": (_states(write_statement(STATEMENT, COSIGN)), ""),
    "with null in a required field": (_states(_TEXT.split(b',"optional"')[0] + b',"optional":null}'), ""),
    "that is good, with an empty keyring": (_keyring(), ""),
    "that is good, with an empty file of keys": (_keyring(lambda gpg: b""), ""),
    "that is good, with a file without keys": (_keyring(lambda gpg: b"no key"), ""),
    "that is good, with a good file and one without keys": (
        _keyring(lambda gpg: gpg.public(_GOOD), lambda gpg: b"no key"),
        "",
    ),
    "that is good, with a file of 5 MiB": (_keyring(lambda gpg: gpg.public(_GOOD) + bytes(5 << 20)), ""),
    "that is good, with another's key": (_keyring(lambda gpg: gpg.public("other@example.org")), ""),
}
ATTACKS = [Attack("OpenPGP message", name, attempt, known) for name, (attempt, known) in _MESSAGES.items()]
