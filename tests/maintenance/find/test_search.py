"""`find` on random stacks of layers: its answer is that of a naive walk, and of the mounted image."""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from maintenance.find import naive
from reliability.stacking.random_stack import KINDS, random_stack
from reliability.stacking.views import members
from support import images, stores
from trees.erofs.trees import mountable

from arstore.maintenance.find.query import DigestQuery, of_content, parse
from arstore.maintenance.find.search import search
from arstore.maintenance.find.update import update
from arstore.maintenance.trim import Goal, trim
from arstore.mounts.table import MountTable
from arstore.rootfs.mount import mount_image
from arstore.store.progress import NoProgress
from arstore.transport.copy import ImportOptions, import_reference
from arstore.trees.contents.row import WHITEOUT

pytestmark = [pytest.mark.root, pytest.mark.mounts, mountable]


def add_content(chance, layers):
    """Give files content, some of it equal, and large enough for both kinds of digests."""
    contents = [b"", b"same", b"other", bytes(20_000), chance.randbytes(17_000)]
    for layer in layers:
        for member in layer:
            if member.info.isreg() and ".wh." not in member.info.name:
                member.content = chance.choice(contents)
                member.info.size = len(member.content)
    return layers


@contextmanager
def filled(place, chance, form):
    """A store with a few images that share the layers of a random stack."""
    layers = [
        images.layer(one, chance.choice(("none", "gzip")))
        for one in add_content(chance, members(random_stack(chance, chance.choice(list(KINDS)))))
    ]
    parts = [images.image(*layers[:count], names=(f"part{count}:1",)) for count in range(1, len(layers) + 1)]
    with stores.opened(place) as store:
        archive = stores.archive_for(store, *parts)
        import_reference(store, str(archive), ImportOptions(tree=form))
        yield store


def expected(store):
    """By path and diff ID: the images that show it, and those that do not."""
    listings: dict[str, naive.Listing] = {}
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for image in store.images():
        chain = {layer.tree: layer.diff_id for _, layer in reversed(store.chain(image))}
        for key in chain:
            listings.setdefault(key, naive.listing(store, key))
        shown = naive.visible([(key, listings[key]) for key in chain])
        for key, diff_id in chain.items():
            for path, kind in listings[key].items():
                if kind != "whiteout" and path:
                    place = found.setdefault((path, diff_id), (set(), set()))
                    place[(path, key) not in shown].add(image.digest)
    return found


def answered(found):
    """The same, as `find` has it."""
    result = {}
    for path, places in found.paths.items():
        for place in places:
            assert place.kind != WHITEOUT
            shown = {one.digest for one in place.images if not one.how}
            hidden = {one.digest for one in place.images if one.how}
            result[os.fsdecode(path), place.diff_id] = shown, hidden
    return result


@given(st.integers(0, 1 << 40), st.sampled_from(["directory", "erofs"]))
@settings(max_examples=12)
def test_the_answer_is_that_of_a_naive_walk(tmp_path_factory, seed, form):
    place = tmp_path_factory.mktemp("find")
    with filled(place, random.Random(seed), form) as store:
        want = expected(store)
        everything = search(store, parse("**"))
        assert everything.read == 0
        assert answered(everything) == want
        for path in {path for path, _ in want} | {"a/no", "no"}:
            one = answered(search(store, parse(f"/{path}")))
            assert one == {key: value for key, value in want.items() if key[0] == path}
        name = random.Random(seed).choice("abc")
        by_name = {key: value for key, value in want.items() if key[0].rpartition("/")[2] == name}
        assert answered(search(store, parse(name))) == by_name
        # Without the index the layers are read, which gives the same.
        os.rename(store.directories.contents, place / "aside")
        without = search(store, parse("**"))
        assert answered(without) == want
        assert without.read == len({tree for image in store.images() for _, tree in _trees(store, image)})
        assert not os.path.exists(store.directories.contents)


def _trees(store, image):
    return [(chain_id, layer.tree) for chain_id, layer in store.chain(image)]


@given(st.integers(0, 1 << 40), st.sampled_from(["directory", "erofs"]))
@example(8660, "directory")  # a hard link to a file of a lower layer
@example(8660, "erofs")
@settings(max_examples=6)
def test_content_is_found_by_its_digest(tmp_path_factory, seed, form):
    place = tmp_path_factory.mktemp("find")
    with filled(place, random.Random(seed), form) as store:
        want: dict[bytes, set[tuple[str, str]]] = {}
        for image in store.images():
            for _, layer in store.chain(image):
                tree, path = store.inventory().tree_place(layer.tree)
                with tree.lower(path) as lower:
                    for found in Path(f"/proc/self/fd/{lower.fd}").rglob("*"):
                        if found.is_file() and not found.is_symlink() and found.stat().st_size:
                            inside = str(found).split("/", 5)[5]
                            want.setdefault(found.read_bytes(), set()).add((inside, layer.diff_id))
        for content, places in want.items():
            (place / "content").write_bytes(content)
            found = search(store, of_content(str(place / "content")))
            assert set(answered(found)) == places
            assert found.unhashed == 0
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            by_sha256 = search(store, parse(digest))
            assert set(answered(by_sha256)) == (places if len(content) <= 16384 else set())
        assert search(store, DigestQuery("", bytes(16), 0x60)).paths == {}


@pytest.mark.parametrize("form", ["directory", "erofs"])
def test_an_image_shows_what_is_called_visible(tmp_path, form):
    """The oracle of the other tests, against the kernel's own overlay."""
    with filled(tmp_path, random.Random(7), form) as store:
        for image in store.images():
            record = mount_image(store, image)
            top = Path(record.target)
            shown = {str(path.relative_to(top)) for path in top.rglob("*")}
            MountTable(store.directories).umount(record.id)
            found = search(store, parse("**"), only=[image.digest])
            visible = {path for (path, _), (where, _) in answered(found).items() if where}
            assert visible == shown


def test_how_a_layer_hides(tmp_path):
    below = [images.file(f"{name}/file", b"x") for name in ("white", "opaque", "replaced", "above", "same")]
    above = [
        images.whiteout("white/file"),
        images.directory("opaque"),
        images.opaque("opaque"),
        images.file("replaced", b"y"),
        images.whiteout("above"),
        images.directory("same"),
        images.file("same/file", b"z"),
    ]
    with stores.opened(tmp_path) as store:
        stores.bring(store, images.image(images.layer(below), images.layer(above), names=("app:1",)))
        (image,) = store.images()
        top = store.chain(image)[-1][1].diff_id
        hidden = {}
        for path, places in search(store, parse("file")).paths.items():
            for place in places:
                for where in place.images:
                    hidden[path.decode(), place.diff_id == top] = where.how, where.by in {"", top}, where.names
        names = ("app:1",)
        assert hidden == {
            ("white/file", False): ("whiteout", True, names),
            ("opaque/file", False): ("opaque", True, names),
            ("replaced/file", False): ("replaced", True, names),
            ("above/file", False): ("whiteout", True, names),
            ("same/file", False): ("replaced", True, names),
            ("same/file", True): ("", True, names),
        }


def test_layers_without_a_tree_are_not_known(tmp_path):
    with stores.opened(tmp_path) as store:
        stores.bring(store, stores.simple("one", "two", names=("app:1",)))
        assert len(search(store, parse("one")).paths) == 1
        trim(store, Goal())
        found = search(store, parse("one"))
        assert found.paths == {}
        assert len(found.unlisted) == 2


def test_a_damaged_index_costs_time_only(tmp_path):
    with stores.opened(tmp_path) as store:
        stores.bring(store, stores.simple("one", "two", names=("app:1",)))
        (path,) = Path(store.directories.contents).iterdir()
        data = path.read_bytes()
        for place in range(32, len(data), 7):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            for text in ("/one", "*", "sha256:" + hashlib.sha256(b"one").hexdigest()):
                found = search(store, parse(text))
                assert found.paths or (text.startswith("sha256") and found.unhashed == 2), place


def test_objects_of_the_store(tmp_path):
    picture = stores.simple("one", "two", names=("app:1",), compression="gzip")
    with stores.opened(tmp_path) as store:
        stores.bring(store, picture)
        (image,) = store.images()
        ((_, below), (chain, top)) = store.chain(image)
        kinds = {
            image.digest: {"image"},
            image.record.config: {"config"},
            top.blobs[0]: {"layer blob"},
            top.diff_id: {"diff ID"},
            below.diff_id: {"diff ID"},
            chain: {"chain ID"},
            "sha256:" + "0" * 64: set(),
        }
        for digest, wanted in kinds.items():
            objects = search(store, parse(str(digest))).objects
            assert {one.kind for one in objects} == wanted
            assert all(one.images == (str(image.digest),) and one.size for one in objects)


def test_update_completes_the_index(tmp_path):
    with stores.opened(tmp_path) as store:
        store.file_digests = "off"
        stores.bring(store, stores.simple("one", "two", names=("app:1",)))
        query = parse("sha256:" + hashlib.sha256(b"one").hexdigest())
        found = search(store, query)
        assert found.paths == {}
        assert found.unhashed == 2
        store.file_digests = "auto"
        assert update(store, NoProgress()) == 2
        found = search(store, query)
        assert list(found.paths) == [b"one"]
        assert found.unhashed == 0
        assert update(store, NoProgress()) == 0


def test_a_limit_is_said(tmp_path):
    with stores.opened(tmp_path) as store:
        layer = images.layer([images.file(f"f{number}") for number in range(20)])
        stores.bring(store, images.image(layer, names=("app:1",)))
        found = search(store, parse("f*"), most=7)
        assert len(found.paths) == 7
        assert found.is_cut


def test_a_directory_that_is_a_symlink(tmp_path):
    with stores.opened(tmp_path) as store:
        layer = images.layer([images.file("usr/bin/sh"), images.symlink("bin", "usr/bin")])
        stores.bring(store, images.image(layer, names=("app:1",)))
        assert search(store, parse("/bin/sh")).symlink == (b"bin", b"usr/bin")
