"""Images of stores on read-only media are used in place: nothing is copied, and nothing is lost with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from support import disks, images, programs, runnable, treelist
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

EXAMPLE = images.example()
IMPLIED = images.image(*images.implied_layers(), names=["implied:1"])
ABSENT = "AdditionalStore"


class Leaning(Arstore):
    """A store with additional ones."""

    def __init__(self, root, runroot, *lenders, owners=()):
        super().__init__(root, runroot)
        self.more = [word for one in lenders for word in ("--additional-store", str(one))]
        self.more += [word for one in owners for word in ("--additional-store-owner", str(one))]

    def words(self, *arguments):
        words = super().words()
        return [*words, *self.more, *map(os.fsdecode, arguments)]


def squashfs(source, image):
    made(["mksquashfs", source, image, "-quiet", "-no-progress"])


def erofs(source, image):
    made(["mkfs.erofs", "--quiet", image, source])


def ext4(source, image):
    disks.formatted("ext4", image, "-d", source)


def made(words):
    if programs.program(words[0]) is None:
        pytest.skip(f"not installed: {words[0]}")
    if why := disks.said(words):
        pytest.skip(f"{words[0]}: {why}")


@contextmanager
def medium(make, source, place):
    """Mount a read-only file system at *place* with the content of the directory *source*."""
    image = place.with_name(f"{place.name}.image")
    make(source, image)
    with disks.attached(place, "-o", "loop,ro", image) as found:
        yield found / "root"


@contextmanager
def read_only_bind(source, place):
    with disks.attached(place, "--bind", source) as found:
        subprocess.run(["mount", "-o", "remount,bind,ro", found], check=True)
        yield found / "root"


@pytest.fixture
def source(tmp_path):
    """A store to be used as an additional one: with two images, one of which needs a cap."""
    (tmp_path / "source").mkdir()
    store = Arstore(tmp_path / "source/root", tmp_path / "sourcerun")
    store.ok("import", images.write_oci_archive(tmp_path / "example.tar", EXAMPLE))
    store.ok("import", images.write_oci_archive(tmp_path / "implied.tar", IMPLIED))
    store.ok("gc")
    return store


@pytest.fixture
def boxed(source, tmp_path, busybox):
    """The same with an image that runs."""
    (tmp_path / "box").mkdir()
    source.ok("import", runnable.write_runnable(tmp_path / "box")["box"])
    source.ok("gc")
    return source


@pytest.fixture
def own(tmp_path):
    """The place of a store that does not exist yet, for `Leaning`."""
    place = (tmp_path / "own", tmp_path / "ownrun")
    yield place
    Arstore(*place).run("umount", "--all")


def kept_blobs(store):
    """The sizes of the blobs under the root."""
    return {path.name: path.stat().st_size for path in (store.root / "blobs").rglob("*") if path.is_file()}


def shown(store, *words):
    view = store.ok("mount", *words).text.strip()
    try:
        return treelist.listing(view)
    finally:
        store.ok("umount", view)


@pytest.mark.parametrize("make", [squashfs, erofs, ext4])
def test_images_on_a_read_only_medium_are_used_where_they_are(make, source, own, tmp_path):
    with medium(make, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        listed = {one["names"][0]: one for one in store.json("images")}
        assert {name: (one["store"], one["read_only"]) for name, one in listed.items()} == {
            "example:1": (str(root), True),
            "implied:1": (str(root), True),
        }
        for words in (("inspect", "example:1"), ("history", "example:1")):
            theirs = source.json(*words)
            ours = store.json(*words)
            if isinstance(ours, dict):
                ours |= {"store": None, "read_only": False}
            assert ours == theirs
        store.ok("unpack", "example:1", tmp_path / "unpacked")
        store.ok("save", "example:1", "-o", tmp_path / "saved.tar")
        assert not own[0].exists(), "what only reads has made a store"
        expected = shown(source, "example:1")
        assert treelist.differences(treelist.listing(tmp_path / "unpacked"), expected) == []
        assert treelist.differences(shown(store, "example:1"), expected) == []
        assert kept_blobs(store) == {}
        assert not os.listdir(own[0] / "trees")
        # The index of its layers is there; the cap, which consists of extracted files, is not trusted in a copy.
        assert treelist.differences(shown(store, "implied:1"), shown(source, "implied:1")) == []
        assert store.json("check")["ok"]


def test_a_container_runs_and_is_committed_over_trees_of_a_medium(boxed, own, tmp_path):
    size = sum(one["compressed_size"] for one in boxed.json("inspect", "box:1")["layers"])
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        assert store.ok("run", "box:1", "sh", "-c", "echo ran").text == "ran\n"
        store.ok("run", "--keep", "--name", "kept", "box:1", "sh", "-c", "echo new >/new")
        assert not os.listdir(own[0] / "trees")
        assert max(kept_blobs(store).values()) < size / 100
        store.ok("commit", "kept", "made:1")
        assert store.ok("run", "made:1", "sh", "-c", "read line </new; echo $line").text == "new\n"
        (made,) = [one for one in store.json("images") if "made:1" in one["names"]]
        assert made["needs_stores"] == [str(root)]
        assert sum(kept_blobs(store).values()) < size / 50
        assert "A /new" in store.ok("diff", "kept").text.splitlines()
        store.ok("export", "kept", "-o", tmp_path / "exported.tar")
        # With its layers it is complete anywhere.
        store.ok("save", "made:1", "-o", tmp_path / "made.tar")
        other = Arstore(tmp_path / "other", tmp_path / "otherrun")
        other.ok("import", tmp_path / "made.tar")
        assert other.json("check")["ok"]
        assert other.json("images")[0]["digest"] == made["digest"]


def test_what_a_medium_has_is_not_stored_again(source, own, tmp_path):
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        layers = store.json("import", tmp_path / "example.tar")["images"][0]["layers"]
        assert [one["reused"] for one in layers] == [True] * len(layers)
        mine = kept_blobs(store)
        assert len(mine) == 2
        assert EXAMPLE.digest.partition(":")[2] in mine
        assert not os.listdir(own[0] / "trees")
        assert treelist.differences(shown(store, "example:1"), shown(source, "example:1")) == []
        assert store.json("check")["ok"]
        bill = store.json("du")
        (line,) = bill["additional_stores"]
        used = subprocess.run(["du", "-sB1", root], capture_output=True, text=True, check=True).stdout.split()[0]
        assert (line["root"], line["size"]) == (str(root), int(used))
        assert line["needed"] == sum(one["compressed_size"] for one in source.json("inspect", "example:1")["layers"])
        total = subprocess.run(["du", "-sB1", f"{own[0]}/"], capture_output=True, text=True, check=True).stdout
        assert bill["total"] == int(total.split()[0])
        # A backup needs nothing else.
        store.ok("backup", tmp_path / "backup")
    restored = Arstore(tmp_path / "restored", tmp_path / "restoredrun")
    restored.ok("import", tmp_path / "backup")
    assert restored.json("check")["ok"]


def test_a_medium_that_is_gone_is_one_line_and_damages_nothing(boxed, own, tmp_path):
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        store.ok("tag", "box:1", "mine:1")
        store.ok("import", runnable.write_runnable(tmp_path / "box")["box"])
        before = store.json("images")
    found = store.run("images", "--json")
    assert found.status == 35
    assert [one["names"] for one in found.json] == [["box:1", "mine:1"]]
    for words in (
        ("run", "mine:1", "true"),
        ("run", "example:1", "true"),
        ("mount", "mine:1"),
        ("unpack", "mine:1", tmp_path / "unpacked"),
        ("save", "mine:1", "-o", tmp_path / "saved.tar"),
        ("backup", tmp_path / "backup"),
        ("inspect", "example:1"),
    ):
        outcome = store.run("-q", *words)
        assert outcome.status == (125 if words[0] == "run" else 35), outcome
        assert len(outcome.err.splitlines()) == 1, outcome.err
        assert f"additional store {root}" in outcome.err
    found = store.run("check", "--json")
    assert found.status == 32
    assert [(one["kind"], one["what"]) for one in found.json["findings"]] == [("lent-absent", str(root))]
    repaired = store.run("check", "--repair", "--json")
    assert repaired.status == 32
    assert [one["kind"] for one in repaired.json["findings"]] == ["lent-absent"]
    store.ok("gc")
    assert store.json("du")["additional_stores"][0]["size"] is None
    with disks.attached(tmp_path / "medium", "-o", "loop,ro", tmp_path / "medium.image"):
        assert store.json("images") == before
        assert store.json("check")["ok"]
        assert store.ok("run", "mine:1", "sh", "-c", "echo ran").text == "ran\n"
    # Imported again without the medium, the image is complete here.
    alone = Arstore(*own)
    alone.ok("import", tmp_path / "box/box.tar")
    assert alone.json("check")["ok"]
    assert alone.ok("run", "mine:1", "sh", "-c", "echo ran").text == "ran\n"


def test_names_there_are_not_removed_and_names_here_come_first(source, own, tmp_path):
    other = images.image(images.layer([images.file("f", b"f")]), names=["example:1"])
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        store.ok("tag", "implied:1", "ours:1")
        for words in (
            ("rm", "example:1"),
            ("rm", EXAMPLE.digest),
            ("untag", "example:1"),
            ("rm", "implied:1"),
            ("convert", "example:1", "--tree", "directory"),
        ):
            line = store.fails("PermissionDenied", *words)
            assert f"is in the additional store {root}, which is only read" in line
        assert store.json("rm", "ours:1")["untagged"] == ["ours:1"]
        store.ok("import", images.write_oci_archive(tmp_path / "other.tar", other))
        assert store.json("inspect", "example:1")["digest"] == other.digest
        assert store.json("inspect", EXAMPLE.digest)["digest"] == EXAMPLE.digest
        (hidden,) = [one for one in store.json("images") if one["digest"] == EXAMPLE.digest]
        assert hidden["hidden"] == ["example:1"]
        assert f"{root} (hidden)" in store.ok("images").text
        store.ok("rm", "example:1")
        assert store.json("inspect", "example:1")["digest"] == EXAMPLE.digest


def test_of_two_media_the_first_is_meant(source, own, tmp_path):
    other = images.image(images.layer([images.file("f", b"f")]), names=["example:1", "only:1"])
    (tmp_path / "second").mkdir()
    second = Arstore(tmp_path / "second/root", tmp_path / "secondrun")
    second.ok("import", images.write_oci_archive(tmp_path / "other.tar", other))
    with (
        medium(ext4, tmp_path / "source", tmp_path / "one") as one,
        medium(ext4, tmp_path / "second", tmp_path / "two") as two,
    ):
        assert Leaning(*own, one, two).json("inspect", "example:1")["digest"] == EXAMPLE.digest
        assert Leaning(*own, two, one).json("inspect", "example:1")["digest"] == other.digest
        assert Leaning(*own, one, two).json("inspect", "only:1")["store"] == str(two)
        # An earlier store that cannot be read may have the name.
        line = Leaning(*own, "/nowhere", two).fails(ABSENT, "inspect", "only:1")
        assert line.startswith("arstore: additional store /nowhere: does not exist")


@pytest.mark.parametrize("kind", ["directory", "read-only bind"])
def test_a_store_that_its_owner_writes_to_is_read_without_a_trace(kind, source, own, tmp_path):
    """Extracted files that could disappear at any moment are not mounted: trees are made here, from the blobs there."""
    plain = images.image(images.layer([images.file("f", b"f")]), names=["plain:1"])
    source.ok("import", "--tree", "directory", images.write_oci_archive(tmp_path / "plain.tar", plain))
    with read_only_bind(tmp_path / "source", tmp_path / "bound") as bound:
        store = Leaning(*own, source.root if kind == "directory" else bound)
        expected = shown(source, "example:1")
        before = treelist.listing(source.root)
        assert treelist.differences(shown(store, "example:1"), expected) == []
        store.ok("unpack", "example:1", tmp_path / "unpacked")
        store.ok("tag", "example:1", "mine:1")
        store.ok("rm", "mine:1")
        assert treelist.differences(treelist.listing(source.root), before) == []
        assert not os.listdir(own[0] / "trees")
        view = store.ok("mount", "example:1").text.strip()
        # The owner removes it under a mount, which holds its index and its tar.
        source.ok("rm", "example:1")
        subprocess.run(["sh", "-c", "echo 1 >/proc/sys/vm/drop_caches"], check=False)
        assert treelist.differences(treelist.listing(view), expected) == []
        store.ok("umount", view)
        assert "no such image" in store.fails("NotFound", "inspect", "example:1")
        # An image that needs a removed blob is refused by name.
        store.ok("tag", "implied:1", "mine:1")
        source.ok("rm", "implied:1")
        line = store.fails(ABSENT, "unpack", "mine:1", tmp_path / "gone")
        assert f"is in the additional store {store.more[1]}, which no longer has it" in line
        store.ok("rm", "mine:1")
        assert treelist.differences(shown(store, "plain:1"), shown(source, "plain:1")) == []
        assert store.json("layers")[-1]["store"] == store.more[1]


def test_what_cannot_be_an_additional_store_is_one_line(source, own, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "podman/overlay-images").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    images.write_layout(tmp_path / "layout", EXAMPLE)
    shutil.copytree(source.root, tmp_path / "damaged", symlinks=True)
    with (tmp_path / "damaged/graph/data.mdb").open("r+b") as file:
        file.truncate(100)
    shutil.copytree(source.root, tmp_path / "older", symlinks=True)
    (tmp_path / "older/graph/data.mdb").unlink()
    for name, says in {
        "nowhere": "does not exist",
        "empty": "is not a store: it is empty",
        "podman": "it is a podman store",
        "file": "is not a directory",
        "layout": "it is an OCI image layout",
        "damaged": "is damaged",
        "older": "is missing, but the store's files exist",
    }.items():
        line = Leaning(*own, tmp_path / name).fails(ABSENT, "inspect", "example:1")
        assert line.startswith(f"arstore: additional store {tmp_path / name}: "), line
        assert says in line
    store = Leaning(*own)
    store.ok("import", tmp_path / "example.tar")
    os.symlink(own[0], tmp_path / "link")
    os.symlink(source.root, tmp_path / "sourcelink")
    for lenders, says in [
        ([own[0]], "which is the store itself"),
        ([tmp_path / "link"], "is the store itself"),
        ([source.root, source.root], "twice"),
        ([source.root, tmp_path / "sourcelink"], "is the same directory as"),
        ([""], "is empty"),
    ]:
        assert says in Leaning(*own, *lenders).fails("Usage", "inspect", "nothing:1")


def test_whose_stores_are_taken(source, own, tmp_path):
    subprocess.run(["chown", "-R", "65534:65534", source.root], check=True)
    line = Leaning(*own, source.root).fails(ABSENT, "inspect", "example:1")
    assert f"{source.root} belongs to nobody, who could change what runs here" in line
    assert line.endswith("--additional-store-owner nobody")
    Leaning(*own, source.root, owners=["nobody"]).ok("inspect", "example:1")
    Leaning(*own, source.root, owners=["65534"]).ok("inspect", "example:1")
    Leaning(*own, source.root).ok("inspect", "example:1", ARSTORE_ADDITIONAL_STORE_OWNERS="root:nobody")
    assert "no user" in Leaning(*own, source.root, owners=["no-such-user"]).fails("Usage", "inspect", "example:1")
    subprocess.run(["chown", "-R", "0:0", source.root], check=True)
    Leaning(*own, source.root).ok("inspect", "example:1")
    for place in ("blobs/sha256", "trees", "graph/data.mdb"):
        mode = (source.root / place).stat().st_mode
        (source.root / place).chmod(0o777)
        assert "can be written to by users other" in Leaning(*own, source.root).fails(ABSENT, "inspect", "example:1")
        (source.root / place).chmod(mode)
    # On a read-only file system the owners do not matter.
    subprocess.run(["chown", "-R", "65534:65534", source.root], check=True)
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        Leaning(*own, root).ok("inspect", "example:1")


def test_the_environment_and_a_file_name_stores_too(source, own, tmp_path):
    store = Arstore(*own)
    variables = {"ARSTORE_ADDITIONAL_STORES": f"{tmp_path / 'nowhere'}:{source.root}"}
    assert store.run("inspect", "example:1", **variables).status == 35
    variables = {"ARSTORE_ADDITIONAL_STORES": str(source.root)}
    assert store.json("inspect", "example:1", **variables)["digest"] == EXAMPLE.digest
    # An option overrides the environment.
    assert Leaning(*own, "/nowhere").run("inspect", "example:1", **variables).status == 35
    assert store.run("inspect", "example:1", ARSTORE_ADDITIONAL_STORES="").status == 33


def test_only_blobs_there_are_enough(source, own, tmp_path):
    """Trees are made here if the medium has none, or only in a form that cannot be mounted."""
    for name in os.listdir(source.root / "trees"):
        shutil.rmtree(source.root / "trees" / name)
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
        store.ok("unpack", "example:1", tmp_path / "unpacked")
        expected = treelist.listing(tmp_path / "unpacked")
        assert treelist.differences(shown(store, "example:1"), expected) == []
        assert len(os.listdir(own[0] / "trees")) == len(EXAMPLE.layers)
        sizes = kept_blobs(store)
        assert len(sizes) == 2, "a layer's blob was copied"
        assert store.json("check")["ok"]
        store.ok("gc")
        assert store.json("images")[0]["store"] == str(root)
        assert not os.listdir(own[0] / "trees")


def test_a_tree_there_that_is_broken_is_made_here(source, own, tmp_path):
    for path in (source.root / "trees").rglob("layer.erofs"):
        path.write_bytes(path.read_bytes()[:1024] + bytes(path.stat().st_size - 1024))
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        store.ok("unpack", "example:1", tmp_path / "unpacked")
        expected = treelist.listing(tmp_path / "unpacked")
        assert treelist.differences(shown(store, "example:1"), expected) == []
        assert len(os.listdir(own[0] / "trees")) == len(EXAMPLE.layers)


def test_a_blob_there_that_is_altered_is_never_taken_for_a_good_one(source, own, tmp_path):
    layer = max((source.root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    for name in os.listdir(source.root / "trees"):
        shutil.rmtree(source.root / "trees" / name)
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        for words in (
            ("unpack", "example:1", tmp_path / "unpacked"),
            ("save", "example:1", "-o", tmp_path / "saved.tar"),
            ("mount", "example:1"),
            ("backup", tmp_path / "backup"),
        ):
            if words[0] == "backup":
                store.ok("import", tmp_path / "implied.tar")
                continue
            outcome = store.run("-q", *words)
            assert outcome.status not in {0, 1}, outcome
            assert len(outcome.err.splitlines()) == 1, outcome.err
        assert not (tmp_path / "saved.tar").exists()


def test_a_graph_that_was_lost_finds_what_was_borrowed(source, own, tmp_path):
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        store.ok("import", tmp_path / "example.tar")
        (own[0] / "graph/data.mdb").unlink()
        found = store.json("check", "--repair")
        assert found["ok"], found
        assert store.json("check")["ok"]
        (line,) = [one for one in store.json("images") if one["store"] is None]
        assert (line["names"], line["needs_stores"]) == (["example:1"], [str(root)])
        assert treelist.differences(shown(store, "example:1"), shown(source, "example:1")) == []


def test_a_pipeline_of_a_medium_is_loaded(tmp_path, own, pipeline):
    (tmp_path / "source").mkdir()
    source = Arstore(tmp_path / "source/root", tmp_path / "sourcerun")
    source.ok("import", pipeline, "--name", "pipeline:1")
    source.ok("gc")
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        store.ok("load", "pipeline:1")
        names = {name for one in store.json("images") if one["store"] is None for name in one["names"]}
        assert {"greeter:1", "counter:1"} <= names
        assert store.json("check")["ok"]


def test_indexes_of_a_medium(own, tmp_path):
    one = images.image(images.layer([images.file("a", b"a")]), names=[], architecture="amd64")
    other = images.image(images.layer([images.file("b", b"b")]), names=[], architecture="arm64")
    (tmp_path / "source").mkdir()
    source = Arstore(tmp_path / "source/root", tmp_path / "sourcerun")
    archive = images.write_oci_archive(tmp_path / "both.tar", images.index(one, other, names=["both:1"]))
    source.ok("import", "--all-platforms", archive)
    source.ok("gc")
    with medium(ext4, tmp_path / "source", tmp_path / "medium") as root:
        store = Leaning(*own, root)
        index = json.loads(store.ok("inspect", "--raw", "both:1").out)
        assert {entry["digest"] for entry in index["manifests"]} == {one.digest, other.digest}
        store.ok("tag", "both:1", "mine:1")
        mine = {image["digest"] for image in store.json("images") if image["store"] is None}
        assert mine == {entry["digest"] for entry in index["manifests"]} | {
            image["digest"] for image in store.json("images") if "mine:1" in image["names"]
        }
        assert store.json("check")["ok"]
        assert store.ok("inspect", "--raw", "mine:1").out == store.ok("inspect", "--raw", "both:1").out
