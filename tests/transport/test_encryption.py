"""Encrypted layers: into a store, from place to place, out of a store, and with every kind of fault."""

from __future__ import annotations

import io
import json
import os
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from support import copies, images, remote, stores
from support import encryption as made
from support.encryption import ec_key, rsa_key

from arstore.errors import (
    CompressionError,
    ConversionError,
    DecryptionError,
    DigestMismatchError,
    LimitError,
    ManifestError,
    MissingBlobError,
    SizeMismatchError,
    TarError,
    TruncatedError,
    UsageError,
)
from arstore.oci.media_type import decrypted_type, encrypted_type, is_encrypted
from arstore.tar.compression import Compression
from arstore.tar.limits import Limits
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.decryption import spooling
from arstore.transport.decryption.keys import DecryptionKeys
from arstore.transport.export.copying import export_reference, export_stored
from arstore.transport.export.encryption import Encryption
from arstore.transport.export.options import ExportOptions
from arstore.transport.selection.selector import Wanted
from arstore.trust.encryption.key_file import KeyWord
from arstore.trust.encryption.recipients import Recipients

PLAIN = images.example(names=["box:1"])
EVERY = Wanted(every=True)


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
def keys(tmp_path):
    """Key files: `rsa` and the curves; each pair as (private, public)."""
    place = tmp_path / "keys"
    place.mkdir()
    return {
        "rsa": made.write(place, "rsa", rsa_key()),
        **{curve: made.write(place, curve, ec_key(curve)) for curve in made.CURVES},
    }


def given(*pairs, told=None):
    lines = [] if told is None else told
    return DecryptionKeys(tuple(KeyWord(str(private)) for private, _ in pairs), lines.append)


def bring(store, picture, keys=None, every=False, limits=None, **more):
    path = stores.archive_for(store, picture, **more)
    options = ImportOptions(wanted=Wanted(every=every), keys=keys, limits=limits or Limits())
    try:
        return import_reference(store, f"oci-archive:{path}", options)
    finally:
        path.unlink()


def encryption(*pairs, indexes=()):
    return Encryption(Recipients.named([f"jwe:{public}" for _, public in pairs]), indexes)


def layer_facts(taken):
    return [(one.digest, one.diff_id) for one in taken.layers]


# --- into a store ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rsa", *made.CURVES])
def test_an_encrypted_image_is_stored_as_what_it_is_without(store, keys, name):
    key = rsa_key() if name == "rsa" else ec_key(name)
    told = []
    locked = made.picture(PLAIN, key)
    (taken,) = bring(store, locked, given(keys[name], told=told))
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in PLAIN.layers]
    assert taken.names == PLAIN.names
    assert [line for line in told if locked.digest in line and taken.digest in line]
    manifest = json.loads(Path(store.directories.blob(taken.digest)).read_bytes())
    assert not any(is_encrypted(layer["mediaType"]) or layer.get("annotations") for layer in manifest["layers"])
    stores.verify_clean(store)
    # Another encryption of the same layers is the same image.
    (again,) = bring(store, made.picture(PLAIN, key), given(keys[name]))
    assert again.digest == taken.digest
    assert all(layer.reused for layer in again.layers)
    stores.verify_clean(store)


def test_some_layers_are_encrypted(store, keys):
    (taken,) = bring(store, made.picture(PLAIN, rsa_key(), which=(1,)), given(keys["rsa"]))
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in PLAIN.layers]
    stores.verify_clean(store)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_every_compression(store, keys, compression):
    plain = images.example(compression=compression)
    (taken,) = bring(store, made.picture(plain, rsa_key(1), ec_key()), given(keys["rsa"], keys["P-256"]))
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in plain.layers]


def test_keys_are_not_needed_where_nothing_is_encrypted(store):
    (taken,) = bring(store, PLAIN, DecryptionKeys((KeyWord("/none"),), print))
    assert taken.digest == PLAIN.digest


def test_layers_that_share_a_file(store, keys, monkeypatch):
    """An image may have more layers than a process may have open files."""
    monkeypatch.setattr(spooling, "_FILES", 1)
    plain = stores.simple("a", "bb", "ccc", "dddd", names=("many:1",), compression="gzip")
    (taken,) = bring(store, made.picture(plain, rsa_key()), given(keys["rsa"]))
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in plain.layers]
    stores.verify_clean(store)


def test_an_index_of_encrypted_images(store, keys):
    arm = stores.simple("arm", architecture="arm64", compression="gzip")
    whole = images.index(made.picture(PLAIN, rsa_key()), made.picture(arm, rsa_key()), names=["multi:1"])
    taken = bring(store, whole, given(keys["rsa"]), every=True)
    assert {tuple(layer_facts(one)) for one in taken} == {
        tuple((layer.digest, layer.diff_id) for layer in one.layers) for one in (PLAIN, arm)
    }
    with store.graph.read() as snapshot:
        (index,) = [record for _, record in snapshot.images() if record.manifests]
    assert set(index.manifests) == {one.digest for one in taken}
    stores.verify_clean(store)


def test_an_index_keeps_what_is_not_encrypted(store, keys):
    arm = stores.simple("arm", architecture="arm64", compression="gzip")
    whole = images.index(PLAIN, made.picture(arm, rsa_key()), names=["multi:1"])
    digests = {one.digest for one in bring(store, whole, given(keys["rsa"]), every=True)}
    assert PLAIN.digest in digests
    stores.verify_clean(store)


def test_two_encryptions_of_one_image_become_one(store, keys):
    one, other = made.picture(PLAIN, rsa_key()), made.picture(images.example(names=["other:1"]), rsa_key())
    path = images.write_oci_archive(Path(store.directories.root).parent / "two.tar", one, other)
    taken = import_reference(store, str(path), ImportOptions(keys=given(keys["rsa"])))
    path.unlink()
    assert len({image.digest for image in taken}) == 1
    assert set(stores.names(store)) == {"box:1", "other:1"}
    stores.verify_clean(store)


def test_a_remote_source(store, keys, tmp_path):
    with remote.served(tmp_path, made.picture(PLAIN, rsa_key(), which=(0, 2))) as server:
        options = ImportOptions(keys=given(keys["rsa"]))
        (taken,) = import_opened(store, lambda _spool: server.source(), options)
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in PLAIN.layers]
    stores.verify_clean(store)


def put(where, **changes):
    return {"edit": lambda locked: getattr(locked, where).update(changes)}


def nonced(place):
    return put(place, cipheroptions={"nonce": b64encode(b"n" * 16).decode()})


def altered(locked):
    locked.blob = locked.blob[:-1] + bytes([locked.blob[-1] ^ 1])


def other_content(locked):
    """A valid layer, correctly encrypted, that the config does not have."""
    other = made.Locked(images.layer([images.file("evil", os.urandom(8))]).blob)
    locked.__dict__.update(other.__dict__)


def cut(locked):
    locked.blob = locked.blob[:-1]


def bomb():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        archive.addfile(info, io.BytesIO(bytes(64 << 20)))
    return images.image(images.layer(data.getvalue()), names=["bomb:1"])


GARBAGE = (CompressionError, TarError, DigestMismatchError, TruncatedError, LimitError)
WRONG = [
    ("another key", {"keys": [rsa_key(1)]}, DecryptionError, "the key does not decrypt it"),
    ("an altered blob", {"edit": altered}, DecryptionError, "HMAC is wrong"),
    ("a blob that was cut before its digest was taken", {"edit": cut}, DecryptionError, "HMAC is wrong"),
    ("another HMAC", put("public", hmac=b64encode(b"m" * 32).decode()), DecryptionError, "HMAC is wrong"),
    ("another key of the layer", put("private", symkey="k" * 43 + "="), DecryptionError, "HMAC is wrong"),
    ("a short HMAC", put("public", hmac="AAAA"), DecryptionError, "hmac: has 3 bytes"),
    ("no HMAC", put("public", hmac=""), DecryptionError, "hmac: is missing"),
    ("another nonce", nonced("private"), GARBAGE, "."),
    ("a nonce in public, too", nonced("public"), DecryptionError, "two different nonces"),
    ("content that is not the config's", {"edit": other_content}, DigestMismatchError, "its diff ID is"),
    ("an unknown cipher", put("public", cipher="AES_128_GCM"), DecryptionError, "encrypted with AES_128_GCM"),
    ("no cipher", put("public", cipher=""), DecryptionError, "does not name its cipher"),
    ("alg none", {"header": lambda one: one.update(alg="none")}, DecryptionError, "alg: is none"),
    ("zip", {"header": lambda one: one.update(zip="DEF")}, DecryptionError, "zip: compressed"),
    ("PBES2", {"header": lambda one: one.update(alg="PBES2-HS256+A128KW", p2c=1 << 31)}, DecryptionError, "p2c"),
    ("no annotations", {"edit_notes": dict.clear}, DecryptionError, "has no wrapped key"),
    ("OpenPGP only", {"edit_notes": lambda one: one.update({f"{made.PREFIX}keys.pgp": one.pop(made.JWE)})},
        DecryptionError, "for pgp"),
    ("a provider only", {"edit_notes": lambda one: one.update({f"{made.PREFIX}keys.provider.kms": one.pop(made.JWE)})},
        DecryptionError, "for provider.kms"),
    ("a subject", {"edit_manifest": lambda one: one.update(subject=one["config"])}, ConversionError, "would be wrong"),
    ("an unregistered compression", {"edit_manifest": lambda one: one["layers"][0].update(
        mediaType="application/vnd.oci.image.layer.v1.tar+br+encrypted")}, DecryptionError, "unknown media type"),
    ("encrypted twice", {"edit_manifest": lambda one: one["layers"][0].update(
        mediaType="application/vnd.oci.image.layer.v1.tar+gzip+encrypted+encrypted")}, DecryptionError, "unknown"),
    ("not a layer's type", {"edit_manifest": lambda one: one["layers"][0].update(
        mediaType="application/octet-stream+encrypted")}, ManifestError, "of the unknown type"),
    ("a wrong size", {"edit_manifest": lambda one: one["layers"][0].update(size=10)}, SizeMismatchError, "."),
    ("a larger size", {"edit_manifest": lambda one: one["layers"][0].update(size=10**6)}, TruncatedError, "."),
    ("10^18 bytes", {"edit_manifest": lambda one: one["layers"][0].update(size=10**18)}, Exception, "no space left"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "error", "why"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_leaves_the_store_as_it_was(store, keys, how, error, why):
    bring(store, stores.simple("other", names=("other:1",)))
    state = stores.State(store)
    recipients = how.pop("keys", [rsa_key()])
    picture = made.picture(PLAIN, *recipients, **how)
    how["keys"] = recipients
    with pytest.raises(error, match=why) as raised:
        bring(store, picture, given(keys["rsa"]))
    assert "\n" not in str(raised.value)
    state.verify()


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_blob_that_is_not_the_announced_one(store, keys, tmp_path, is_remote):
    picture = made.picture(PLAIN, rsa_key())
    state = stores.State(store)
    digest = picture.layers[1].digest
    options = ImportOptions(keys=given(keys["rsa"]))
    changes = {
        "altered": (lambda blob: bytes(len(blob)), DigestMismatchError),
        "cut": (lambda blob: blob[:-3], TruncatedError),
        "longer": (lambda blob: blob + b"xyz", SizeMismatchError),
    }
    for name, (change, error) in changes.items():
        place = tmp_path / name
        place.mkdir()
        if is_remote:
            with remote.served(place, picture, tamper={digest: change}) as server, pytest.raises(error):
                import_opened(store, lambda _spool, server=server: server.source(), options)
        else:
            layout = images.write_layout(place / "layout", picture)
            path = layout / "blobs" / "sha256" / digest.partition(":")[2]
            path.write_bytes(change(path.read_bytes()))
            with pytest.raises(error):
                import_reference(store, str(layout), options)
        state.verify()
    layout = images.write_layout(tmp_path / "layout", picture)
    (layout / "blobs" / "sha256" / digest.partition(":")[2]).unlink()
    with pytest.raises(MissingBlobError):
        import_reference(store, str(layout), options)
    state.verify()


def test_a_bomb_in_an_encrypted_layer(store, keys):
    state = stores.State(store)
    with pytest.raises(LimitError):
        bring(store, made.picture(bomb(), rsa_key()), given(keys["rsa"]), limits=Limits()._replace(inflated=1 << 20))
    state.verify()


def test_dockers_format_has_no_encrypted_layers(store, keys):
    docker = images.example(docker=True)
    with pytest.raises((DecryptionError, ManifestError), match="Docker's format"):
        bring(store, made.picture(docker, rsa_key()), given(keys["rsa"]))


def test_one_blob_that_two_keys_open(store, keys):
    """The same bytes with two keys: at least one of them is wrong."""
    blob = images.layer([images.file("a", b"1")])
    plain = images.image(blob, names=["one:1"])
    twice = made.Locked(blob.blob)
    first, second = twice.annotations(rsa_key()), None
    twice.private["cipheroptions"] = {"nonce": b64encode(b"z" * 16).decode()}
    second = twice.annotations(rsa_key())

    def change(manifest):
        layer = {**manifest["layers"][0], "mediaType": images.OCI_LAYER + "+gzip+encrypted",
                 "digest": images.sha256(twice.blob)}  # fmt: skip
        manifest["layers"] = [{**layer, "annotations": first}, {**layer, "annotations": second}]

    locked = replace(blob, blob=twice.blob)
    picture = images.image(locked, locked, names=["two:1"], edit_manifest=change)
    assert plain.layers
    with pytest.raises(DecryptionError, match="two different keys"):
        bring(store, picture, given(keys["rsa"]))


def test_without_a_key_the_error_says_what_is_missing(store):
    state = stores.State(store)
    with pytest.raises(
        DecryptionError, match=r"2 of its 3 layers are encrypted, for 2 keys of jwe \(RSA-OAEP"
    ) as error:
        bring(store, made.picture(PLAIN, rsa_key(), ec_key(), which=(0, 1)))
    assert "--decryption-key KEYFILE" in error.value.hint
    state.verify()


# --- from place to place --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", copies.MANIFESTS)
def test_without_a_key_layers_are_moved_unopened(tmp_path, kind):
    if kind.startswith("docker"):
        pytest.skip("a docker-archive cannot have encrypted layers")
    picture = made.picture(PLAIN, rsa_key())
    source = images.write_oci_archive(tmp_path / "source.tar", picture)
    target = copies.target(kind, tmp_path)
    done = copies.copy(source, target)
    assert done.locked == 3
    (image,) = done.images
    assert image.descriptor.digest == picture.digest
    again = copies.copy(target.reference, copies.target("oci-archive", tmp_path, "again"))
    assert again.images[0].descriptor.digest == picture.digest


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("docker-archive", {}, "cannot hold encrypted layers"),
        ("docker-oci-archive", {}, "cannot hold encrypted layers"),
        ("oci", {"compression": Compression.ZSTD}, "cannot be recompressed without decryption"),
        ("oci", {"compression": Compression.GZIP}, "cannot be recompressed without decryption"),
        ("dir", {"form": "v2s2"}, "Docker's format does not support"),
    ],
)
def test_what_needs_a_key_is_refused_without(tmp_path, kind, options, why):
    source = images.write_oci_archive(tmp_path / "source.tar", made.picture(PLAIN, rsa_key()))
    target = copies.target(kind, tmp_path)
    with pytest.raises(DecryptionError, match=why):
        copies.copy(source, target, ExportOptions(**options))
    assert not os.path.lexists(target.path) or not any(os.scandir(target.path))


def copy(source, target, keys=None, **options):
    with target.destination() as place:
        every = options.get("every", False)
        return export_reference(str(source), place, Wanted(every=every), ExportOptions(**options), keys=keys)


@pytest.mark.parametrize("kind", copies.KINDS)
def test_with_a_key_a_copy_is_plain(tmp_path, keys, kind):
    source = images.write_oci_archive(tmp_path / "source.tar", made.picture(PLAIN, rsa_key()))
    target = copies.target(kind, tmp_path)
    told = []
    done = copy(source, target, given(keys["rsa"], told=told))
    assert done.locked == 0
    assert len(told) == 1
    assert copies.read(target.reference).one.diff_ids == PLAIN.diff_ids


def test_a_copy_is_verified_down_to_its_diff_ids(tmp_path, keys):
    for name, how in (("nonce", nonced("private")), ("content", {"edit": other_content})):
        source = images.write_oci_archive(tmp_path / f"{name}.tar", made.picture(PLAIN, rsa_key(), **how))
        target = copies.target("oci", tmp_path, name)
        with pytest.raises(GARBAGE):
            copy(source, target, given(keys["rsa"]))
        assert not os.path.lexists(target.path)


def test_a_digest_that_is_to_stay_is_not_decrypted(tmp_path, keys):
    source = images.write_oci_archive(tmp_path / "source.tar", made.picture(PLAIN, rsa_key()))
    with pytest.raises(ConversionError, match="would change"):
        copy(source, copies.target("oci", tmp_path), given(keys["rsa"]), preserve_digests=True)
    done = copy(source, copies.target("oci", tmp_path), preserve_digests=True)
    assert done.locked == 3


def test_an_image_is_given_to_another_reader(tmp_path, keys):
    source = images.write_oci_archive(tmp_path / "source.tar", made.picture(PLAIN, rsa_key()))
    target, plain = copies.target("oci", tmp_path, "other"), copies.target("oci", tmp_path, "plain")
    copy(source, target, given(keys["rsa"]), encryption=encryption(keys["P-384"]))
    with pytest.raises(DecryptionError, match="does not decrypt it"):
        copy(target.reference, plain, given(keys["rsa"]))
    copy(target.reference, plain, given(keys["P-384"]))
    assert copies.read(plain.reference).one.diff_ids == PLAIN.diff_ids


# --- out of a store, and of other places ----------------------------------------------------------------------------


def manifest_of(layout):
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return json.loads((layout / "blobs" / "sha256" / entry["digest"].partition(":")[2]).read_bytes())


@pytest.mark.parametrize("kind", [kind for kind in copies.MANIFESTS if not kind.startswith("docker")])
def test_what_is_encrypted_is_decrypted_again(store, tmp_path, keys, kind):
    bring(store, PLAIN)
    target, plain = copies.target(kind, tmp_path), copies.target("oci", tmp_path, "plain")
    options = ExportOptions(encryption=encryption(keys["rsa"], keys["P-521"]))
    with target.destination() as place:
        export_stored(store, ["box:1"], place, Wanted(), options)
    with pytest.raises(DecryptionError):
        bring_from(store, target.reference)
    for name in ("rsa", "P-521"):
        copy(target.reference, plain, given(keys[name]))
        image = copies.read(plain.reference).one
        assert image.diff_ids == PLAIN.diff_ids
        assert [digest for digest, _, _ in image.layers] == [layer.digest for layer in PLAIN.layers]
    (taken,) = import_reference(store, target.reference, ImportOptions(keys=given(keys["rsa"])))
    assert layer_facts(taken) == [(one.digest, one.diff_id) for one in PLAIN.layers]
    stores.verify_clean(store)


def bring_from(store, reference):
    return import_reference(store, reference, ImportOptions())


@pytest.mark.parametrize(
    ("indexes", "encrypted"),
    [((), [0, 1, 2]), ((0,), [0]), ((-1,), [2]), ((0, -3), [0]), ((1, 2), [1, 2]), ((-2, 0), [0, 1])],
)
def test_which_layers_are_encrypted(tmp_path, keys, indexes, encrypted):
    source = images.write_oci_archive(tmp_path / "source.tar", PLAIN)
    target = copies.target("oci", tmp_path)
    copy(source, target, encryption=encryption(keys["rsa"], indexes=indexes))
    manifest = manifest_of(target.path)
    assert [n for n, layer in enumerate(manifest["layers"]) if is_encrypted(layer["mediaType"])] == encrypted
    for layer, plain in zip(manifest["layers"], PLAIN.layers, strict=True):
        assert is_encrypted(layer["mediaType"]) == (layer["digest"] != plain.digest)
        assert layer["size"] == len(plain.blob)
        assert not is_encrypted(layer["mediaType"]) or set(layer["annotations"]) == {made.JWE, made.PUBLIC}


@pytest.mark.parametrize("index", [3, -4, 1 << 40])
def test_a_layer_that_there_is_not(tmp_path, keys, index):
    source = images.write_oci_archive(tmp_path / "source.tar", PLAIN)
    target = copies.target("oci", tmp_path)
    with pytest.raises(UsageError, match=r"there is no layer with this number: .* has 3"):
        copy(source, target, encryption=encryption(keys["rsa"], indexes=(0, index)))
    assert not os.path.lexists(target.path)


def test_what_is_encrypted_already_stays(tmp_path, keys):
    locked = made.picture(PLAIN, rsa_key(1), which=(1,))
    source = images.write_oci_archive(tmp_path / "source.tar", locked)
    target = copies.target("oci", tmp_path)
    done = copy(source, target, encryption=encryption(keys["rsa"]))
    assert done.locked == 1
    manifest = manifest_of(target.path)
    assert [is_encrypted(layer["mediaType"]) for layer in manifest["layers"]] == [True] * 3
    assert manifest["layers"][1] == json.loads(locked.manifest)["layers"][1]


def test_an_image_in_dockers_format_is_converted(tmp_path, keys):
    source = images.write_oci_archive(tmp_path / "source.tar", images.example(docker=True, names=["box:1"]))
    target, plain = copies.target("oci", tmp_path), copies.target("oci", tmp_path, "plain")
    copy(source, target, encryption=encryption(keys["P-256"]))
    manifest = manifest_of(target.path)
    assert manifest["mediaType"] == images.OCI_MANIFEST
    assert {layer["mediaType"] for layer in manifest["layers"]} == {images.OCI_LAYER + "+gzip+encrypted"}
    copy(target.reference, plain, given(keys["P-256"]))
    assert copies.read(plain.reference).one.diff_ids == PLAIN.diff_ids


def test_compressed_anew_and_encrypted(tmp_path, keys):
    source = images.write_oci_archive(tmp_path / "source.tar", PLAIN)
    target, plain = copies.target("oci", tmp_path), copies.target("oci", tmp_path, "plain")
    copy(source, target, encryption=encryption(keys["rsa"]), compression=Compression.ZSTD)
    assert {one["mediaType"] for one in manifest_of(target.path)["layers"]} == {images.OCI_LAYER + "+zstd+encrypted"}
    copy(target.reference, plain, given(keys["rsa"]))
    assert copies.read(plain.reference).one.diff_ids == PLAIN.diff_ids


def test_a_shared_layer_is_encrypted_once(tmp_path, keys):
    base = images.layer([images.file("base", b"1")])
    pair = [
        images.image(base, images.layer([images.file(name, b"1")]), architecture=name) for name in ("amd64", "arm64")
    ]
    source = images.write_oci_archive(tmp_path / "source.tar", images.index(*pair, names=["multi:1"], docker=False))
    target, plain = copies.target("oci", tmp_path), copies.target("oci", tmp_path, "plain")
    done = copy(source, target, encryption=encryption(keys["rsa"]), every=True)
    bottoms = {image.layers[0].descriptor.digest for image in done.images}
    assert len(bottoms) == 1
    copy(target.reference, plain, given(keys["rsa"]), every=True)
    read = copies.read(plain.reference, every=True)
    assert sorted(image.diff_ids for image in read.images.values()) == sorted(one.diff_ids for one in pair)


def test_the_structure_is_always_the_same(tmp_path, keys):
    """Only keys and nonces are random."""
    source = images.write_oci_archive(tmp_path / "source.tar", PLAIN)
    shapes = []
    for name in ("one", "other"):
        target = copies.target("oci", tmp_path, name)
        copy(source, target, encryption=encryption(keys["rsa"], keys["P-256"]))
        manifest = manifest_of(target.path)
        for layer in manifest["layers"]:
            layer["digest"] = ""
            layer["annotations"] = {key: len(text) for key, text in layer["annotations"].items()}
        shapes.append(json.dumps(manifest))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("docker-archive", {}, "cannot hold encrypted layers"),
        ("docker-oci-archive", {}, "cannot hold encrypted layers"),
        ("oci", {"form": "v2s2"}, "Docker's format does not support"),
        ("oci", {"preserve_digests": True}, "would have to be changed"),
    ],
)
def test_places_that_cannot_have_encrypted_layers(tmp_path, keys, kind, options, why):
    source = images.write_oci_archive(tmp_path / "source.tar", PLAIN)
    target = copies.target(kind, tmp_path)
    with pytest.raises(ConversionError, match=why):
        copy(source, target, encryption=encryption(keys["rsa"]), **options)
    assert not os.path.lexists(target.path)


def test_an_image_about_another_manifest_is_not_encrypted(tmp_path, keys):
    about = images.example(edit_manifest=lambda one: one.update(subject=one["config"]))
    source = images.write_oci_archive(tmp_path / "source.tar", about)
    with pytest.raises(ConversionError, match="would be wrong"):
        copy(source, copies.target("oci", tmp_path), encryption=encryption(keys["rsa"]))


def test_types_of_encrypted_layers():
    for plain in (images.OCI_LAYER, f"{images.OCI_LAYER}+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"):
        assert decrypted_type(encrypted_type(plain)) == plain
        assert is_encrypted(encrypted_type(plain))
        assert not is_encrypted(plain)
        assert decrypted_type(plain) == ""
    assert decrypted_type("application/x+encrypted") == ""
    assert decrypted_type("+encrypted") == ""
