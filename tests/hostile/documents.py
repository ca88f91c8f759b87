"""Documents that lie about what they name: digests, sizes, kinds, layers; and images without any layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support import images

from hostile.case import ENTRIES, FORMS, NAME, Case, Source, bring, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hostile.trial import Trial

NO_NAME = ("Manifest", "InvalidReference")


def layers() -> list[images.Layer]:
    """Two small layers."""
    return [images.layer([images.file("a", b"a")]), images.layer([images.file("b", b"b")])]


def manifest(edit: Callable[[dict[str, Any]], Any]) -> images.Picture:
    """An image with an edited manifest."""
    return images.image(*layers(), names=[NAME], edit_manifest=edit)


def first_layer(**fields: Any) -> images.Picture:
    """An image with edited fields in the descriptor of its first layer."""
    return manifest(lambda one: one["layers"][0].update(fields))


def config(edit: Callable[[dict[str, Any]], Any]) -> images.Picture:
    """An image with an edited config."""
    return images.image(*layers(), names=[NAME], edit_config=edit)


def _diff_ids(edit: Callable[[list[str]], Any]) -> images.Picture:
    return config(lambda one: edit(one["rootfs"]["diff_ids"]))


def _respelt(one: dict[str, Any]) -> None:
    one["layers"][0]["digest"] = one["layers"][0]["digest"].upper().replace("SHA256", "sha256")


def _twice(one: images.Picture, key: str) -> images.Picture:
    """The image with a manifest that has *key* twice, the second with another value."""
    raw = one.manifest[:-1] + b"," + images.dump({key: []})[1:]
    return images.Picture(one.layers, one.config, raw, one.names)


ZEROS = "sha256:" + "0" * 64
LIES: dict[str, tuple[Callable[[], images.Picture], tuple[str, ...]]] = {
    "a digest with a path": (lambda: first_layer(digest="sha256:../../../../etc/passwd"), NO_NAME),
    "a digest with a path after 64 digits": (lambda: first_layer(digest="sha256:" + "a" * 64 + "/../x"), NO_NAME),
    "an algorithm with a path": (lambda: first_layer(digest="../sha256:" + "a" * 64), NO_NAME),
    "an unknown algorithm": (lambda: first_layer(digest="md5:" + "0" * 32), NO_NAME),
    "an upper-case digest": (lambda: manifest(_respelt), NO_NAME),
    "a short digest": (lambda: first_layer(digest="sha256:abcd"), NO_NAME),
    "a digest with a newline": (lambda: first_layer(digest=ZEROS + "\n"), NO_NAME),
    "an empty digest": (lambda: first_layer(digest=""), NO_NAME),
    "a digest of nothing there": (lambda: first_layer(digest=ZEROS), ("MissingBlob",)),
    "a config digest with a path": (lambda: manifest(lambda one: one["config"].update(digest="sha256:../x")), NO_NAME),
    "a size that is less": (lambda: first_layer(size=10), ("SizeMismatch",)),
    "a size that is more": (lambda: first_layer(size=1 << 20), ("SizeMismatch", "Truncated")),
    "a size of an EiB": (lambda: first_layer(size=1 << 60), ("SizeMismatch", "Truncated", "Limit", "NoSpace")),
    "a size over 63 bits": (lambda: first_layer(size=1 << 70), ("Manifest", "Limit")),
    "a size below zero": (lambda: first_layer(size=-1), ("Manifest",)),
    "a size that is a fraction": (lambda: first_layer(size=1.5), ("Manifest",)),
    "a diff ID that lies": (lambda: _diff_ids(lambda ids: ids.__setitem__(0, ZEROS)), ("DigestMismatch",)),
    "diff IDs in another order": (lambda: _diff_ids(lambda ids: ids.reverse()), ("DigestMismatch",)),
    "a diff ID too many": (lambda: _diff_ids(lambda ids: ids.append(ZEROS)), ("Manifest",)),
    "a diff ID too few": (lambda: _diff_ids(lambda ids: ids.pop()), ("Manifest",)),
    "a diff ID with a path": (lambda: _diff_ids(lambda ids: ids.__setitem__(0, "sha256:../x")), NO_NAME),
    "a manifest that is an index too": (lambda: manifest(lambda one: one.update(manifests=[])), ("Manifest",)),
    "a manifest that says it is an index": (
        lambda: manifest(lambda one: one.update(mediaType=images.OCI_INDEX)),
        ("Manifest",),
    ),
    "schema 1": (lambda: manifest(lambda one: one.update(schemaVersion=1, fsLayers=[], history=[])), ("Manifest",)),
    "layers twice": (lambda: _twice(manifest(lambda one: None), "layers"), ("Manifest",)),
    "a layer as the config": (lambda: manifest(lambda one: one.update(config=one["layers"][0])), ("Manifest", "Limit")),
    "a config without layers": (lambda: config(lambda one: one.pop("rootfs")), ("Manifest",)),
    "a foreign layer with addresses": (
        lambda: first_layer(
            digest=ZEROS,
            mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar",
            urls=["file:///etc/passwd", "http://localhost/"],
        ),
        ("MissingBlob", "Manifest"),
    ),
}
OF_DOCKER = {"docker-archive"}
"""An entry point without a manifest of OCI: lies about manifests cannot be tried there."""


def _lie(make: Callable[[], images.Picture], kinds: tuple[str, ...], entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        bring(trial, written(entry, trial.source, make()), kinds, {})

    return attempt


def lies() -> Iterator[Case]:
    """Each lie at two entry points; the next lie uses others."""
    entries = [entry for entry in ENTRIES if entry not in OF_DOCKER]
    for number, (name, (make, kinds)) in enumerate(LIES.items()):
        for shift, form in enumerate(FORMS):
            entry = entries[(number + 2 * shift) % len(entries)]
            yield Case("identity", f"{name}, {entry}", form, _lie(make, kinds, entry))


# --- docker-archives, whose one document has paths -------------------------------------------------------------------


def _docker(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Trial], Source]:
    def write(trial: Trial) -> Source:
        files = images.docker_files(images.image(*layers(), names=[NAME]))
        documents = json.loads(files[-1].content)
        edit(documents[0])
        files[-1] = images.file("manifest.json", images.dump(documents))
        return Source((images.write_archive(trial.source / "hostile.tar", files),))

    return write


OUT = "../" * 30 + "etc/passwd"
DOCKER: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]] = {
    "a config's path up": (lambda one: one.update(Config=OUT), ("UnsafePath", "MissingBlob", "Manifest")),
    "a layer's path up": (lambda one: one["Layers"].__setitem__(0, OUT), ("UnsafePath", "MissingBlob")),
    "a layer's absolute path": (lambda one: one["Layers"].__setitem__(0, "/etc/passwd"), ("UnsafePath", "MissingBlob")),
    "a layer as the config": (lambda one: one.update(Config=one["Layers"][0]), ("Manifest", "Limit", "DigestMismatch")),
    "the config as a layer": (
        lambda one: one["Layers"].__setitem__(0, one["Config"]),
        ("Tar", "DigestMismatch", "Truncated", "UnknownFormat", "Compression"),
    ),
    "a layer too many": (lambda one: one["Layers"].append(one["Layers"][0]), ("Manifest",)),
    "layers in another order": (lambda one: one["Layers"].reverse(), ("DigestMismatch",)),
}


def docker() -> Iterator[Case]:
    """Each at the only entry point that takes it."""
    for number, (name, (edit, kinds)) in enumerate(DOCKER.items()):

        def attempt(trial: Trial, edit: Callable[[dict[str, Any]], Any] = edit, kinds: tuple[str, ...] = kinds) -> None:
            bring(trial, _docker(edit)(trial), kinds, {})

        yield Case("identity", f"{name}, docker-archive", FORMS[number % 2], attempt)


NAMES = {"up": "../../x:1", "with a newline": "a\nb:1", "of an option": "--all:1"}


def names() -> Iterator[Case]:
    """Invalid names are left out; the image gets the name of its file."""
    for number, (name, text) in enumerate(NAMES.items()):

        def attempt(trial: Trial, text: str = text) -> None:
            source = _docker(lambda one: one.update(RepoTags=[text]))(trial)
            trial.must("import", "--tree", trial.form, *source.words)
            trial.expect("the names", trial.names(), {"before:1", "hostile:latest"})
            trial.looked_into("hostile:latest", {"a": b"a", "b": b"b"})

        yield Case("identity", f"a name {name}, docker-archive", FORMS[number % 2], attempt)

    def refused(trial: Trial) -> None:
        # No text of a document may contain one: it could end a path or an argument.
        bring(trial, _docker(lambda one: one.update(RepoTags=["a\0b:1"]))(trial), ("Manifest",), {})

    yield Case("identity", "a name with a NUL, docker-archive", "erofs", refused)


# --- invalid documents ------------------------------------------------------------------------------------------------

DOCUMENTS: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "half an object": b'{"schemaVersion":2,',
    "bytes that are no UTF-8": b'{"schemaVersion":2,"x":"\xff\xfe"}',
    "a key twice": b'{"schemaVersion":2,"schemaVersion":2}',
    "100,000 brackets": b"[" * 100_000,
    "4 MiB of brackets in an object": b'{"x":' + b"[" * (4 << 20),
    "no number": b'{"schemaVersion":NaN}',
    "a number of a MiB": b'{"schemaVersion":' + b"9" * (1 << 20) + b"}",
    "5 MiB": b'{"schemaVersion":2,"x":"' + b"x" * (5 << 20) + b'"}',
}
PLACES = ("index", "manifest", "config")


def _document(place: str, document: bytes, entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        digest = images.sha256(document)
        descriptor = {"digest": digest, "size": len(document)}
        edit: Callable[[dict[str, Any]], Any] | None = None
        if place == "config":
            edit = lambda one: one.update(config={"mediaType": images.OCI_CONFIG, **descriptor})  # noqa: E731
        files = images.layout_files(
            images.image(*layers(), names=[NAME], edit_manifest=edit), replace={digest: document}
        )
        if place == "index":
            files[1] = images.file("index.json", document)
        elif place == "manifest":
            entries = [{"mediaType": images.OCI_MANIFEST, **descriptor}]
            files[1] = images.file("index.json", images.dump({"schemaVersion": 2, "manifests": entries}))
        bring(trial, of_files(entry, trial.source, files), ("Manifest", "Limit", "UnknownFormat"), {})

    return attempt


def of_files(entry: str, place: Path, files: images.Files) -> Source:
    """The files of a layout, for one of the three entry points that take them."""
    if entry == "layout":
        return Source((images.write_files(place / "layout", files),))
    archive = images.write_archive(place / "hostile.tar", files)
    return Source(("-",), (archive,)) if entry == "stdin" else Source((archive,))


def documents() -> Iterator[Case]:
    """Each document in each place, by entry points and forms in turn."""
    entries = ("oci-archive", "layout", "stdin")
    number = 0
    for name, document in DOCUMENTS.items():
        for place in PLACES:
            entry = entries[(number + number // 3) % 3]
            title = f"{name} as the {place}, {entry}"
            yield Case("documents", title, FORMS[number % 2], _document(place, document, entry))
            number += 1


# --- layerless --------------------------------------------------------------------------------------------------------


def _layerless(entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        bring(trial, written(entry, trial.source, images.image(names=[NAME])), (), {"etc": None})

    return attempt


def layerless() -> Iterator[Case]:
    """An image without a layer, at every entry point."""
    for number, entry in enumerate(ENTRIES):
        yield Case("layerless", f"no layers at all, {entry}", FORMS[number % 2], _layerless(entry))


def cases() -> Iterator[Case]:
    """All of this module."""
    yield from lies()
    yield from docker()
    yield from names()
    yield from documents()
    yield from layerless()
