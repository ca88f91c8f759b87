"""Indexes made by arstore: their entries, refusals, and that nothing else changes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial

import pytest
from support import images, stores

from arstore.errors import ConflictError, NotFoundError, PlatformError, UsageError
from arstore.oci import media_type as types
from arstore.store.indexes import add_to_index, create_index, remove_from_index

AMD, ARM, V6, V7 = "linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7"


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        for number, platform in enumerate((AMD, ARM, V6, V7)):
            parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
            bring(store=made, content=str(number), name=platform.rpartition("/")[2], **parts)
        yield made


def bring(store, content, name, docker=False, **platform):
    layer = images.layer([images.file("name", content.encode())])
    edit = {"os": "linux", "architecture": "amd64", **platform}
    picture = images.image(layer, names=(f"{name}:1",), docker=docker, edit_config=lambda config: config.update(edit))
    stores.bring(store, picture, every=True)
    return picture.digest


def document(store, done):
    return json.loads(store.read_blob(done.digest))


def platforms(done):
    return [str(entry.platform) for entry in done.entries]


def test_an_index_lists_images_with_the_platforms_of_their_configs(store):
    done = create_index(store, "app:1", ["amd64:1", "arm64:1", "v6:1", "v7:1"])
    assert platforms(done) == [AMD, ARM, V6, V7]
    assert document(store, done)["mediaType"] == types.OCI_INDEX
    assert store.find("app:1").digest == done.digest
    assert [one.digest for one in store.members(store.find("app:1"))] == [one.digest for one in done.entries]
    assert create_index(store, "again:1", ["amd64:1", "arm64:1", "v6:1", "v7:1"]).digest == done.digest
    stores.verify_clean(store)


def test_images_are_added_once_and_removed(store):
    first = create_index(store, "app:1", ["amd64:1"])
    more = add_to_index(store, "app:1", ["arm64:1", "amd64:1", "arm64:1"])
    assert platforms(more) == [AMD, ARM]
    assert add_to_index(store, "app:1", ["amd64:1"]).digest == more.digest
    less = remove_from_index(store, "app:1", ["arm64:1"])
    assert less.digest == first.digest
    assert store.find("arm64:1")
    with pytest.raises(NotFoundError, match="not in the index"):
        remove_from_index(store, "app:1", ["arm64:1"])
    with pytest.raises(UsageError, match="untag"):
        remove_from_index(store, "app:1", ["amd64:1"])


def test_an_index_among_the_images_stands_for_its_images(store):
    create_index(store, "some:1", ["amd64:1", "arm64:1"])
    assert platforms(create_index(store, "all:1", ["some:1", "v7:1"])) == [AMD, ARM, V7]


def test_two_images_of_one_platform_are_refused(store):
    bring(store, "other", "other")
    with pytest.raises(ConflictError, match="two images for linux/amd64"):
        create_index(store, "app:1", ["amd64:1", "other:1"])
    bring(store, "v8", "eight", architecture="arm64", variant="v8")
    with pytest.raises(ConflictError, match="arm64"):
        create_index(store, "app:1", ["arm64:1", "eight:1"])
    with pytest.raises(NotFoundError):
        store.find("app:1")


def test_docker_images_make_a_list_until_another_comes(store):
    bring(store, "docker", "docker", docker=True)
    done = create_index(store, "app:1", ["docker:1"])
    assert document(store, done)["mediaType"] == types.DOCKER_LIST
    assert document(store, add_to_index(store, "app:1", ["arm64:1"]))["mediaType"] == types.OCI_INDEX


def test_what_is_not_touched_stays_as_it_is(store):
    inner = images.index(images.image(images.layer([images.file("x", b"x")])), names=("there:1",))
    odd = json.loads(inner.raw)
    absent = {"mediaType": types.OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": 7, "extra": [1]}
    odd["manifests"] += [absent, {"digest": "nonsense", "mediaType": "x/y", "size": 1}]
    odd["annotations"] = {"kept": "yes"}
    whole = images.Collection(inner.parts, images.dump(odd), inner.names)
    stores.bring(store, whole, every=True)
    done = document(store, add_to_index(store, "there:1", ["arm64:1"]))
    assert done["annotations"] == {"kept": "yes"}
    assert done["manifests"][:-1] == odd["manifests"]
    shorter = document(store, remove_from_index(store, "there:1", ["sha256:" + "a" * 64]))
    assert absent not in shorter["manifests"]


@pytest.mark.parametrize(
    ("text", "error"),
    [("amd64:1", UsageError), ("missing:1", NotFoundError), ("{digest}", UsageError)],
)
def test_only_a_name_of_an_index_can_be_changed(store, text, error):
    digest = create_index(store, "app:1", ["amd64:1"]).digest
    with pytest.raises(error):
        add_to_index(store, text.format(digest=digest), ["arm64:1"])


def test_an_image_without_a_platform_is_refused(store):
    bring(store, "none", "none", os="", architecture="")
    with pytest.raises(PlatformError):
        create_index(store, "app:1", ["none:1"])


def test_two_that_add_at_once_lose_nothing(store):
    create_index(store, "app:1", ["amd64:1"])
    store.graph.release()

    def add(text):
        with stores.made(store.directories.root, store.directories.runroot) as mine:
            add_to_index(mine, "app:1", [text])

    with ExitStack() as stack:
        for text in ("arm64:1", "v6:1", "v7:1"):
            stack.enter_context(stores.in_child(partial(add, text)))
    assert len(store.find("app:1").record.manifests) == 4
