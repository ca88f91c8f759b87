"""A store of a thousand layers: the fast ways of reading all of it give the same as a slow one."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from support import stores
from support.largestore import Shape, fill

from arstore.graph.records import KINDS
from arstore.maintenance.check import Damage, check
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.scan.totals import Known
from arstore.maintenance.scan.walk import Parts, outline
from arstore.workers.pool import divided

SHAPE = Shape(100, common=3)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store that is filled once; a test that changes it restores it."""
    place = tmp_path_factory.mktemp("large")
    with stores.opened(place) as store:
        fill(store, SHAPE, place)
        yield store


def layers_of(store, image):
    """The blobs of an image, from its documents."""
    manifest = json.loads(Path(store.directories.blob(image.digest)).read_bytes())
    return [layer["digest"] for layer in manifest["layers"]]


def test_it_is_as_large_as_it_should_be_and_well(filled):
    with filled.graph.read() as snapshot:
        counts = {table: sum(1 for _ in snapshot.keys(table)) for table in KINDS}
    assert (counts["images"], counts["layers"]) == (100, SHAPE.layers)
    assert counts["layers"] >= 1000
    assert check(filled) == []
    assert check(filled, quick=True) == []
    assert not plan_collection(filled)
    assert {name for image in filled.images() for name in image.names} == {
        f"project-{project}/app:{build}" for project in range(10) for build in range(10)
    }


def test_tables_that_are_read_whole_are_what_their_records_say_one_by_one(filled):
    with filled.graph.read() as snapshot, filled.graph.read() as other:
        for table, kind in KINDS.items():
            keys = list(other.keys(table))
            assert keys == sorted(keys) == sorted(snapshot.keys(table))
            whole = other.every(table, kind)
            some = other.every(table, NamedTuple("Last", [(kind._fields[-1], object)]))
            assert list(whole) == list(some) == keys
            for key in keys:
                assert snapshot._get(table, kind, key) == whole[key] == other._get(table, kind, key)
                assert some[key] == whole[key][-1:]
            found, columns = other.columns(table, kind)
            assert found == keys
            assert list(zip(*columns, strict=True)) == list(whole.values())


def test_the_bill_is_what_adding_up_gives(filled):
    found = stores.survey(filled.directories)
    assert found.total == stores.du(filled.directories.root)
    images = filled.images()
    blobs = {image.digest: {image.digest, image.record.config, *layers_of(filled, image)} for image in images}
    users = Counter(blob for needs in blobs.values() for blob in needs)
    usage = {item.digest: item for item in measure(filled).images}
    for digest, needs in blobs.items():
        # A layer's tree has its blob's digest here; each image has a separate merged index.
        layers = [blob for blob in needs if blob in found.trees]
        own = sum(found.blobs[blob] for blob in needs if users[blob] == 1)
        own += sum(found.trees[blob] for blob in layers if users[blob] == 1)
        size = sum(found.blobs[blob] for blob in needs) + sum(found.trees[blob] for blob in layers)
        merged = usage[digest].size - size
        assert merged > 0
        assert usage[digest].unique == own + merged
        assert usage[digest].shared == size - own
    assert measure(filled).orphans == 0


def test_an_outline_has_what_is_not_known(filled):
    with filled.graph.read() as snapshot:
        known = Known.of(snapshot)
    nothing = outline(filled.directories, known)
    assert (nothing.blobs, nothing.trees, nothing.strange) == ({}, {}, {})
    whole = stores.survey(filled.directories)
    all_names = outline(filled.directories, Known(frozenset(), frozenset(), frozenset()))
    assert (set(whole.blobs), set(whole.trees)) == (set(all_names.blobs), set(all_names.trees))
    assert not any(all_names.trees.values())


def test_a_blob_without_a_record_is_found_beside_the_tree_of_its_name(filled):
    layer = layers_of(filled, filled.images()[3])[-1]
    with filled.graph.read() as snapshot:
        known = Known.of(snapshot)
    assert layer in known.trees
    found = outline(filled.directories, known._replace(blobs=known.blobs - {layer}))
    assert (list(found.blobs), found.trees) == ([layer], {})


def test_a_survey_in_parts_is_the_same(filled):
    assert in_parts(filled) == stores.survey(filled.directories)


def test_what_is_linked_from_a_blob_and_a_tree_counts_once(filled):
    layer = layers_of(filled, filled.images()[5])[-1]
    before = stores.survey(filled.directories).total
    blob, tar = filled.directories.blob(layer), f"{filled.directories.tree(layer)}/layer.tar"
    size = os.lstat(tar).st_blocks * 512
    os.rename(tar, f"{filled.directories.root}/../aside")
    try:
        os.link(blob, tar)
        found = in_parts(filled)
        assert (
            found.total
            == stores.survey(filled.directories).total
            == before - size
            == stores.du(filled.directories.root)
        )
        assert measure(filled).total == before - size
    finally:
        os.unlink(tar)
        os.rename(f"{filled.directories.root}/../aside", tar)
    assert in_parts(filled).total == before


def in_parts(store):
    parts = Parts(store.directories)
    with divided(parts.survey, parts.COUNT) as surveyed:
        found, *others = surveyed()
    for other in others:
        found.add(other)
    return found


def test_one_lost_tree_and_one_cut_blob_are_found(filled):
    image = filled.images()[37]
    layer = layers_of(filled, image)[-1]
    tar = f"{filled.directories.tree(layer)}/layer.tar"
    config = filled.directories.blob(image.record.config)
    content = Path(config).read_bytes()
    os.rename(tar, f"{tar}.away")
    os.truncate(config, 10)
    try:
        found = {(finding.damage, finding.what) for finding in check(filled, quick=True)}
    finally:
        os.rename(f"{tar}.away", tar)
        Path(config).write_bytes(content)
    assert found == {(Damage.TREE_ALTERED, layer), (Damage.BLOB_SIZE, image.record.config)}


def test_what_one_image_alone_needs_is_collected(filled):
    doomed = filled.find("project-9/app:9")
    own = layers_of(filled, doomed)[SHAPE.base + SHAPE.common :]
    filled.untag("project-9/app:9")
    plan = plan_collection(filled)
    assert plan.images == (doomed.digest,)
    assert set(plan.blobs) == {doomed.digest, doomed.record.config, *own}
    assert set(own) < set(plan.trees)
    assert len(plan.trees) == len(own) + 1
    assert len(plan.layers) == SHAPE.own
    before = stores.survey(filled.directories)
    done = collect(filled)
    after = stores.survey(filled.directories)
    assert before.total - before.frame - (after.total - after.frame) == plan.bytes
    assert (done.bytes, done.by_kind()) == (plan.bytes, plan.by_kind())
    assert not plan_collection(filled)
    assert check(filled) == []
