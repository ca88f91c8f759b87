"""Sources that are small because they repeat themselves: lists of lists, one document for thousands of images, one
layer thousands of times. Each must be refused by a count, or take no longer than reading its documents once."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from support import images

from hostile.case import FORMS, NAME, Case
from hostile.exhaustion import apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hostile.trial import Trial

REFUSED_IN, TAKEN_IN = 20.0, 120.0
"""Seconds on a machine with other load: a refused source is read before, and an imported one is synced."""
READERS = (("images",), ("layers",), ("layers", "--json"), ("inspect", NAME), ("history", NAME), ("du",), ("gc",))
LAYER = images.layer([images.file("f")], "none")


# --- pieces -----------------------------------------------------------------------------------------------------------


def blob(data: bytes) -> images.Member:
    """The member of a layout with the blob *data*."""
    return images.file("blobs/" + images.sha256(data).replace(":", "/"), data)


def pointer(kind: str, data: bytes, name: str = "", **more: Any) -> dict[str, Any]:
    """A descriptor of *data*, with a name."""
    found = {"mediaType": kind, "digest": images.sha256(data), "size": len(data), **more}
    return {**found, "annotations": {images.REF_NAME: name}} if name else found


def listing(entries: Sequence[dict[str, Any]], number: int = 0) -> bytes:
    """An index, different for each number."""
    document = {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(entries)}
    return images.dump({**document, "annotations": {"number": str(number)}})


def layout(entries: Sequence[dict[str, Any]], *blobs: bytes, table: Sequence[dict[str, Any]] = ()) -> images.Files:
    """A layout; with a *table*, it has a `manifest.json` too."""
    files = [images.file("oci-layout", images.LAYOUT), images.file("index.json", listing(entries))]
    files += map(blob, blobs)
    return [*files, images.file("manifest.json", images.dump(list(table)))] if table else files


def manifests(count: int, config: bytes, layers: Sequence[images.Layer] = (LAYER,)) -> list[bytes]:
    """Manifests with one config that differ in a number."""
    one = {
        "schemaVersion": 2,
        "config": pointer(images.OCI_CONFIG, config),
        "layers": [each.descriptor() for each in layers],
    }
    return [images.dump({**one, "annotations": {"number": str(number)}}) for number in range(count)]


def name(number: int) -> str:
    """NAME for the first, other names for the rest."""
    return f"n{number}:1" if number else NAME


def large_config(number: int = 0, size: int = 4 << 20) -> bytes:
    """A config of about *size* bytes."""
    return images.image(LAYER, edit_config=lambda one: one.update(x=f"{number:08d}" * (size // 8 - 200))).config


# --- sources ----------------------------------------------------------------------------------------------------------


def indexes(outer: int, inner: int, *, with_table: bool, depth: int = 1) -> images.Files:
    """Indexes that all lead to one index of many manifests."""
    config = images.image(LAYER).config
    some = manifests(inner, config)
    below = [listing([pointer(images.OCI_MANIFEST, one) for one in some])]
    for _ in range(depth - 1):
        below.append(listing([pointer(images.OCI_INDEX, below[-1])] * 3))
    tops = [listing([pointer(images.OCI_INDEX, below[-1])], number + 1) for number in range(outer)]
    entries = [pointer(images.OCI_INDEX, one, name(number)) for number, one in enumerate(tops)]
    table = [{"Config": "absent.json", "RepoTags": ["t:1"], "Layers": ["x"]}] if with_table else []
    return layout(entries, config, LAYER.blob, *some, *below, *tops, table=table)


def platforms(entries: int, inner: int) -> images.Files:
    """One index at the top again and again, each time for another platform; its entries are not images."""
    some = [
        {**pointer("", images.dump({"layers": [], "config": {"mediaType": "a/b"}})), "annotations": {"n": str(number)}}
        for number in range(inner)
    ]
    below = listing(some)
    tops = [
        pointer(images.OCI_INDEX, below, name(number), platform={"os": "linux", "architecture": f"a{number}"})
        for number in range(entries)
    ]
    return layout(tops, below, images.dump({"layers": [], "config": {"mediaType": "a/b"}}))


def one_config(count: int, *, with_table: bool) -> images.Files:
    """Manifests that share one large config."""
    config = large_config()
    some = manifests(count, config)
    entries = [pointer(images.OCI_MANIFEST, one, name(number)) for number, one in enumerate(some)]
    table = [{"Config": f"{images.sha256(config)[7:]}.json", "RepoTags": [], "Layers": ["x"]}] if with_table else []
    return layout(entries, config, LAYER.blob, *some, table=table)


def types(count: int) -> images.Files:
    """One manifest with a large config, under many types, sizes and platforms."""
    config = large_config()
    (one,) = manifests(1, config)
    entries = []
    for number in range(count):
        entry = pointer(images.OCI_MANIFEST, one, NAME, platform={"os": "linux", "architecture": f"a{number}"})
        entry["mediaType"] = (images.OCI_MANIFEST, images.DOCKER_MANIFEST, "")[number % 3]
        entry["size"] += number % 7
        entries.append(entry)
    return layout(entries, one, config, LAYER.blob)


def embedded(count: int) -> images.Files:
    """Descriptors with an embedded manifest each."""
    config = images.image(LAYER).config
    (one,) = manifests(1, config)
    data = base64.b64encode(one).decode()
    below = listing([{**pointer(images.OCI_MANIFEST, one), "data": data}] * count)
    tops = [pointer(images.OCI_INDEX, below, name(number), platform={"os": f"o{number}", "architecture": "x"})
            for number in range(200)]  # fmt: skip
    return layout(tops, config, LAYER.blob, below)


def items(count: int) -> images.Files:
    """Items of a docker-archive that have one large config."""
    return [
        images.file("c", large_config()),
        images.file("manifest.json", b"[" + b",".join([b'{"Config":"c"}'] * count) + b"]"),
    ]


def spelt_items(count: int) -> images.Files:
    """Items that spell the paths of one large config and one layer in different ways."""
    table = [
        {"Config": "./" * (number % 60) + "c", "RepoTags": [name(number)], "Layers": ["./" * (number % 50) + "l"]}
        for number in range(count)
    ]
    return [
        images.file("c", large_config()),
        images.file("l", LAYER.tar),
        images.file("manifest.json", images.dump(table)),
    ]


def tags(entries: int, names: int) -> images.Files:
    """Images with one config, and many names for it."""
    config = images.image(LAYER).config
    some = manifests(entries, config)
    row = {"Config": f"{images.sha256(config)[7:]}.json", "RepoTags": [f"n{n}:1" for n in range(names)], "Layers": []}
    return layout([pointer(images.OCI_MANIFEST, one) for one in some], config, LAYER.blob, *some, table=[row])


def one_name(count: int) -> images.Files:
    """One name for many images, each of another platform."""
    some = [images.image(LAYER, architecture=f"a{number}") for number in range(count)]
    entries = [pointer(images.OCI_MANIFEST, one.manifest, NAME) for one in some]
    return layout(entries, LAYER.blob, *(one.config for one in some), *(one.manifest for one in some))


def layers(count: int, depth: int) -> images.Files:
    """Images that use one layer again and again, on different layers."""
    some = []
    for number in range(count):
        own = images.layer([images.file(f"f{number}")], "none")
        some.append(
            images.image(
                names=[name(number)],
                edit_config=partial(_put, "rootfs", {"diff_ids": [own.diff_id] + [LAYER.diff_id] * (depth - 1)}),
                edit_manifest=partial(_put_layers, [own.descriptor()] + [LAYER.descriptor()] * (depth - 1)),
            )
        )
    owns = [images.layer([images.file(f"f{number}")], "none").blob for number in range(count)]
    return [*images.layout_files(*some), blob(LAYER.blob), *map(blob, owns)]


def _put(key: str, more: dict[str, Any], document: dict[str, Any]) -> None:
    document[key].update(more)


def _put_layers(layers: list[dict[str, Any]], document: dict[str, Any]) -> None:
    document["layers"] = layers


def docker_layers(count: int, depth: int) -> images.Files:
    """The same in a docker-archive, where all images share one config."""
    config = images.image(edit_config=partial(_put, "rootfs", {"diff_ids": [LAYER.diff_id] * depth})).config
    table = [
        {"Config": "c", "RepoTags": [name(number)], "Layers": ["l"] * (depth - 1) + [f"l{number}"]}
        for number in range(count)
    ]
    links = [images.symlink(f"l{number}", "l") for number in range(count)]
    files = [images.file("c", config), images.file("l", LAYER.tar), *links]
    return [*files, images.file("manifest.json", images.dump(table))]


def configs(count: int) -> images.Files:
    """Large configs, each different."""
    some = [large_config(number) for number in range(count)]
    entries = [pointer(images.OCI_MANIFEST, manifests(1, one)[0], name(n)) for n, one in enumerate(some)]
    return layout(entries, LAYER.blob, *some, *(manifests(1, one)[0] for one in some))


def distinct(count: int) -> images.Files:
    """Images that share only their layer: the counter-test."""
    some = [
        images.image(LAYER, names=[name(number)], edit_config=partial(dict.update, author=str(number)))
        for number in range(count)
    ]
    return images.layout_files(*some)


EVERY = ("--all-platforms",)
SOURCES: dict[str, tuple[Callable[[], images.Files], str, tuple[str, ...]]] = {
    "10,000 indexes of one index, beside a table": (partial(indexes, 10_000, 1000, with_table=True), "visits", ()),
    "2,000 indexes of one index": (partial(indexes, 2000, 1000, with_table=False), "visits", ()),
    "2,000 indexes of one index, every platform": (partial(indexes, 2000, 1000, with_table=False), "visits", EVERY),
    "indexes three deep that repeat": (partial(indexes, 2000, 500, with_table=True, depth=3), "visits", ()),
    "one index for 10,000 platforms": (partial(platforms, 10_000, 10_000), "", ()),
    "a config of 4 MiB for 4,096 manifests": (partial(one_config, 4096, with_table=False), "", ()),
    "the same beside a table": (partial(one_config, 4096, with_table=True), "", ()),
    "one manifest under many types and sizes": (partial(types, 3000), "", ()),
    "5,000 descriptors with data, in 200 entries": (partial(embedded, 5000), "", EVERY),
    "200,000 items of one config of 4 MiB": (partial(items, 200_000), "images", ()),
    "15,000 items that spell one config": (partial(spelt_items, 15_000), "", ()),
    "4,000 names for each of 4,000 images": (partial(tags, 4000, 4000), "visits", ()),
    "one name for 3,000 images": (partial(one_name, 3000), "", EVERY),
    "20 images of 9,998 layers": (partial(layers, 20, 9998), "parsed", ()),
    "100 docker images of 9,998 layers": (partial(docker_layers, 100, 9998), "visits", ()),
    "30 configs of 4 MiB": (partial(configs, 30), "parsed", ()),
    "2,000 images of their own": (partial(distinct, 2000), "", ()),
}
"""A function that makes a source; the limit that refuses it, "" if it is imported or has other faults; options."""


def _attempt(files: Callable[[], images.Files], limit: str, options: tuple[str, ...]) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "hostile.tar.gz"
        apart(lambda: void(images.write_archive(path, files(), "gzip")))
        words = ("-q", "import", "--tree", trial.form, *options, path)
        done = trial.run(*words, timeout=REFUSED_IN if limit else TAKEN_IN)
        if limit or done.status:
            trial.judge(
                done, ("Limit",) if limit else ("Manifest", "Ambiguous", "SizeMismatch", "Truncated", "Platform")
            )
            if limit and f"--limit {limit}=" not in done.last:
                trial.wrong(f"not refused by {limit}: {done.last[-300:]}")
            if trial.state() != trial.before:
                trial.wrong("the store is not as before")
            return
        for reader in READERS:
            # An index of other platforms has no image to inspect.
            read = trial.run("-q", *reader, timeout=REFUSED_IN)
            if read.status and json.dumps(reader).find(NAME) < 0:
                trial.wrong(f"{reader} ended with {read.status}: {read.last[-300:]}")

    return attempt


# --- what is large in memory -----------------------------------------------------------------------------------------


def listed_notes(note: Callable[[int], str], count: int, features: int = 0) -> images.Files:
    """A layout whose `index.json` has just under 16 MiB of entries without images, each with so many annotations."""
    picture = images.image(LAYER, names=[NAME])
    top = pointer(images.OCI_MANIFEST, picture.manifest, NAME)
    platform = {"os": "linux", "architecture": "s390x", "os.features": [str(number) for number in range(features)]}
    notes = {str(number): note(number) for number in range(count)}
    other = pointer("application/x", b"other", annotations=notes, platform=platform)
    size = len(images.dump(other)) + 1
    return layout(
        [top, *[other] * min(((16 << 20) - 10_000) // size, 49_000)], picture.manifest, picture.config, LAYER.blob
    )


FOUR_BYTES = "\U0001f600"
"""A character that makes a text four times as large in memory."""
LARGE: dict[str, tuple[Callable[[], images.Files], bool]] = {
    "an index.json of short strings": (partial(listed_notes, str, 0, 60), False),
    "an index.json of short annotations": (partial(listed_notes, "yy{}".format, 20), False),
    "an index.json with characters of four bytes": (
        partial(listed_notes, "\U0001f600{}".format, 20),
        False,
    ),
    "an index.json of annotations as dense as may be": (
        partial(listed_notes, "{}abcdefg\U0001f600".format, 60),
        True,
    ),
}
"""A function that makes a source; whether the import succeeds."""


def _large(files: Callable[[], images.Files], *, comes_in: bool) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "hostile.tar.gz"
        apart(lambda: void(images.write_archive(path, files(), "gzip")))
        words = ("-q", "import", "--tree", trial.form, path)
        if comes_in:
            trial.must(*words)
        else:
            trial.refused(("Limit",), *words)

    return attempt


def void(_value: object) -> None:
    """Do nothing."""


def cases() -> Iterator[Case]:
    """Each in one form: trees do not matter here."""
    for number, (title, (files, limit, options)) in enumerate(SOURCES.items()):
        yield Case("repetition", title, FORMS[number % 2], _attempt(files, limit, options))
    for number, (title, (files, comes_in)) in enumerate(LARGE.items()):
        yield Case("repetition", title, FORMS[number % 2], _large(files, comes_in=comes_in))
