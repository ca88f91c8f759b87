"""Any images, written by any sink and read by arstore's sources: the same digests, configs, layers and names."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import copies, images, stores

from arstore.transport.selection.selector import Wanted

FEW = settings(max_examples=settings().max_examples // 3)
"""Each example is written to the disk, and synced."""

LAYERS = [
    images.layer([images.file(name, name.encode() * 50)], compression)
    for name in ("a", "b")
    for compression in ("none", "gzip", "zstd")
]
NAMES = [
    "app:1", "app:latest", "team/app:v1.2", "docker.io/library/app:1", "localhost/app:1", "localhost:5000/app:x_y",
    "registry.example/a/b/c:2", "registry.example:443/a:2-rc.1",
]  # fmt: skip


@st.composite
def pictures(draw, names=True):
    docker = draw(st.booleans())
    usable = [layer for layer in LAYERS if not (docker and layer.compression == "zstd")]
    layers = draw(st.lists(st.sampled_from(usable), max_size=4))
    return images.image(
        *layers,
        names=draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)) if names else (),
        docker=docker,
        config=draw(st.dictionaries(st.sampled_from(["User", "WorkingDir"]), st.text(max_size=5), max_size=2)),
    )


def no_name_twice(some):
    seen = set()
    return [one for one in some if seen.isdisjoint(one.names) and not seen.update(one.names)]


def taken(read):
    return {digest: (image.config, image.layers) for digest, image in read.images.items()}


def by_name(read):
    named = {name: digest for digest, image in read.images.items() for name in image.names}
    return named | {name: digest for digest, (_, names) in read.indexes.items() for name in names}


@pytest.mark.parametrize("kind", ["oci-archive", "oci"])
@FEW
@given(st.lists(pictures(), min_size=1, max_size=3, unique_by=lambda one: one.digest))
def test_images(kind, some):
    some = no_name_twice(some)
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, "source"), copies.target(kind, Path(place))
        images.write_layout(source, *some)
        copies.copy(source, target)
        before, after = copies.read(source), copies.read(target.reference)
    assert taken(after) == taken(before) == {one.digest: copies.expected(one)[2:4] for one in some}
    assert by_name(after) == by_name(before) == {name: one.digest for one in some for name in one.names}


@pytest.mark.parametrize("kind", ["docker-archive", "docker-archive-pipe"])
@FEW
@given(st.lists(pictures(), min_size=1, max_size=3, unique_by=lambda one: one.config_digest))
def test_docker_archives(kind, some):
    some = no_name_twice(some)
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, "source"), copies.target(kind, Path(place))
        images.write_layout(source, *some)
        copies.copy(source, target)
        found = {one.config: one for one in copies.read(target.reference).images.values()}
    assert {config: one.diff_ids for config, one in found.items()} == {one.config: one.diff_ids for one in some}
    assert {config: set(one.names) for config, one in found.items()} == {one.config: set(one.names) for one in some}


@st.composite
def wholes(draw, depth=2):
    kinds = ["amd64", "arm64", "s390x", "riscv64"]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))
    parts = [stores.simple(draw(st.sampled_from("abc")), architecture=kind, compression="gzip") for kind in chosen]
    if depth and draw(st.booleans()):
        parts.append(images.index(stores.simple("deep", architecture=f"deep{depth}"), draw(wholes(depth=depth - 1))))
    return images.index(*parts, names=draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)))


def all_images(whole):
    return [one for part in whole.parts for one in (all_images(part) if hasattr(part, "parts") else [part])]


def all_indexes(whole):
    return [whole, *(one for part in whole.parts if hasattr(part, "parts") for one in all_indexes(part))]


@pytest.mark.parametrize("kind", ["docker-oci-archive-pipe", "oci", "dir"])
@FEW
@given(wholes(), st.data())
def test_indexes(kind, whole, data):
    """Sparse ones too, with at least one of their images."""
    every = {one.digest: one for one in all_images(whole)}
    gone = data.draw(st.lists(st.sampled_from(sorted(every)), max_size=len(every) - 1, unique=True))
    missing = {every[digest].digest for digest in gone}
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, "source"), copies.target(kind, Path(place))
        images.write_layout(source, whole, omit=missing)
        try:
            before = copies.read(source, every=True)
        except Exception as error:
            # Nothing is copied either if all images of an index are missing, or if two names mean one thing.
            with pytest.raises(type(error)):
                copies.copy(source, target, wanted=Wanted(every=True))
            return
        copies.copy(source, target, wanted=Wanted(every=True))
        after = copies.read(target.reference, every=True)
    assert taken(after) == taken(before)
    assert set(after.images) == set(every) - missing
    assert set(after.indexes) == set(before.indexes)
    if kind != "dir":
        assert by_name(after) == by_name(before)
