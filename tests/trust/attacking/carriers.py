"""Manifests and files that carry signatures, and lie about them."""

from __future__ import annotations

import json

from support.signing import PAYLOAD, signed
from trust.attacking.world import Attack

from arstore.trust import cosign, dir_file
from arstore.trust.signature import LARGEST, MOST

_PARTS = ("manifest with signatures", "file with a signature")


def _manifest(change):
    """Read every signature of a manifest after *change* of its document."""

    def attempt(world):
        carrier = cosign.carry([world.good()])
        document = json.loads(carrier.manifest)
        made = change(document) or document
        slots = cosign.read_slots(made if isinstance(made, bytes) else json.dumps(made).encode())
        found = [cosign.signature_in(slot, carrier.blobs[1]) for slot in slots]
        assert found, "nothing was found"
        return [world.by_key(one) for one in found]

    return attempt


def _layer(**members):
    return _manifest(lambda document: document["layers"][0].update(members))


def _file(change):
    return lambda world: world.by_key(dir_file.read_file(change(dir_file.write_file(world.good()))))


def _more(document):
    document["layers"] = document["layers"] * (MOST + 1)


def _add(world):
    carrier = cosign.carry([signed(world.key) for _ in range(MOST)])
    return cosign.add(carrier.manifest, signed(world.key))


def _without(*names):
    return _manifest(lambda document: {name: value for name, value in document.items() if name not in names})


_MANIFESTS = {
    "129 of them": (_manifest(_more), ""),
    "with a 129th added": (_add, ""),
    "of another size": (_layer(size=len(PAYLOAD) + 1), ""),
    "of 1 GiB": (_layer(size=1 << 30), "a bomb"),
    "of a size below 0": (_layer(size=-1), ""),
    "of another digest": (_layer(digest="sha256:" + "0" * 64), ""),
    "with a digest that is a path": (_layer(digest="sha256:../../etc/passwd"), "CVE-2024-3727"),
    "with a signature that is not a string": (_layer(annotations={cosign.SIGNATURE: 7}), ""),
    "with a NUL in the signature": (_layer(annotations={cosign.SIGNATURE: "AA\0"}), ""),
    "without annotations": (_layer(annotations=None), ""),
    "that is an index too": (_manifest(lambda document: document.update(manifests=[])), "CVE-2021-41190"),
    "that is an index": (
        _manifest(lambda document: document.update(mediaType="application/vnd.oci.image.index.v1+json")),
        "",
    ),
    "of another schema": (_manifest(lambda document: document.update(schemaVersion=1)), ""),
    "without layers": (_without("layers"), ""),
    "with both `Layers` and `layers`": (_manifest(lambda document: document.update(Layers=[])), ""),
    "with layers that are not objects": (_manifest(lambda document: document.update(layers=["x"])), ""),
    "with `layers` twice": (
        _manifest(lambda document: json.dumps(document)[:-1].encode() + b', "layers": []}'),
        "CVE-2021-41190",
    ),
    "of more than 4 MiB": (_manifest(lambda document: json.dumps(document).encode() + b" " * LARGEST), ""),
    "nested a million deep": (_manifest(lambda document: b'{"layers":' + b"[" * 1_000_000), ""),
}
_FILES = {
    "that is empty": (_file(lambda data: b""), ""),
    "of an unknown form": (_file(lambda data: b"\0new-form\n{}"), ""),
    "of a form without an end": (_file(lambda data: b"\0" + b"x" * 100_000), ""),
    "of OpenPGP in armour": (_file(lambda data: b"-----BEGIN PGP MESSAGE-----"), ""),
    "of OpenPGP in armour, with its form": (_file(lambda data: b"\0simple-signing\n-----BEGIN"), ""),
    "with another media type": (_file(lambda data: data.replace(b"simplesigning.v1", b"simplesigning.v2")), ""),
    "with a payload that is not base64": (_file(lambda data: data.replace(b'"payload":"', b'"payload":"*')), ""),
    "with its payload twice": (_file(lambda data: data[:-1] + b',"payload":"e30="}'), ""),
    "without annotations": (_file(lambda data: data.replace(b"annotations", b"annotation5")), ""),
    "with another payload": (
        lambda w: w.by_key(dir_file.read_file(dir_file.write_file(w.good()._replace(payload=PAYLOAD + b" ")))),
        "",
    ),
    "of more than 4 MiB": (_file(lambda data: data + b" " * LARGEST), ""),
    "cut by a byte": (_file(lambda data: data[:-1]), ""),
}
ATTACKS = [Attack(_PARTS[0], name, attempt, known) for name, (attempt, known) in _MANIFESTS.items()]
ATTACKS += [Attack(_PARTS[1], name, attempt, known) for name, (attempt, known) in _FILES.items()]
