"""Importing images: what is read once, reused and healed, and the memory that it takes."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import os
import resource
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import images, stores

from arstore.errors import DigestMismatchError, PermissionDeniedError, SizeMismatchError, UnsafePathError
from arstore.rootfs import mount as rootfs
from arstore.store.ingest import intake, layer_jobs
from arstore.store.ingest.layer_pass import take_layer
from arstore.store.store import Store
from arstore.transport.copy import import_opened, import_reference
from arstore.transport.detect import open_source
from arstore.trees.format import UnrepresentableError

OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


class Told:
    """A Progress that records."""

    def __init__(self):
        self.started, self.finished, self.bytes, self.steps = [], {}, 0, 0

    def start(self, key, _label, total):
        self.started.append((key, total))

    def advance(self, _key, count):
        self.bytes += count

    def worked(self, _key, steps):
        self.steps = steps

    def finish(self, key, reused=False):
        self.finished[key] = reused


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def content(name="a", text=b"content" * 200):
    return [images.directory("./"), images.file(name, text)]


root = pytest.mark.root


# --- reading and reuse ----------------------------------------------------------------------------------------------


def test_progress_tells_every_layer_once(store):
    one = stores.simple("a", "b", "a", names=("one:1",))
    told = Told()
    stores.bring(store, one, progress=told)
    assert sorted(told.started) == sorted({(layer.diff_id, len(layer.blob)) for layer in one.layers})
    assert told.finished == dict.fromkeys(one.diff_ids, False)
    assert told.bytes == sum(len(layer.blob) for layer in {layer.digest: layer for layer in one.layers}.values())
    again = Told()
    stores.bring(store, one, progress=again)
    if os.geteuid() == 0:
        assert again.finished == dict.fromkeys(one.diff_ids, True)


@root
def test_nothing_is_written_twice(store):
    stores.bring(store, images.example())
    before = stores.State(store)
    (taken,) = stores.bring(store, images.example())
    assert all(layer.reused for layer in taken.layers)
    before.verify()


def test_what_is_told_of_an_image(store):
    one = images.example(compression="zstd")
    (taken,) = stores.bring(store, one)
    assert (taken.digest, taken.config) == (one.digest, one.config_digest)
    assert taken.platform == f"linux/{images.HOST_ARCHITECTURE}"
    assert [(x.digest, x.diff_id, x.chain_id, x.size, x.compressed_size, x.reused) for x in taken.layers] == [
        (layer.digest, layer.diff_id, chain_id, len(layer.tar), len(layer.blob), False)
        for layer, chain_id in zip(one.layers, one.chain_ids, strict=True)
    ]


def test_an_image_without_layers(store):
    one = images.image(names=["none:1"])
    (taken,) = stores.bring(store, one)
    assert taken.layers == ()
    record = store.find("none:1").record
    assert (record.top, record.layers) == ("", ())
    stores.verify_layout(store)
    stores.verify_clean(store)
    if os.geteuid() == 0:
        assert record.cap == ""
        assert store.stack(store.find("none:1")) == []


@root
def test_one_layer_in_two_compressions_in_one_archive(store):
    pictures = [images.image(images.layer(content(), how), names=[f"{how}:1"]) for how in ("gzip", "zstd")]
    stores.bring(store, *pictures)
    with store.graph.read() as snapshot:
        ((_, layer),) = snapshot.layers()
    assert set(layer.blobs) == {picture.layers[0].digest for picture in pictures}
    assert stores.trees(store) == {pictures[0].diff_ids[0]}
    stores.verify_layout(store)
    stores.verify_clean(store)


@root
def test_a_layer_twice_in_one_image(store):
    base, gone = images.layer(content()), images.layer([images.whiteout("a")])
    one = images.image(base, gone, base, names=["twice:1"])
    (taken,) = stores.bring(store, one)
    assert [layer.diff_id for layer in taken.layers] == one.diff_ids
    assert store.stack(store.find("twice:1")) == [base.diff_id, gone.diff_id]
    with store.graph.read() as snapshot:
        assert [chain for chain, _ in snapshot.chain(one.chain_ids[-1])] == one.chain_ids


@pytest.mark.parametrize("together", [False, True])
def test_a_blob_under_two_diff_ids(store, together):
    layer = images.layer(content())
    honest = images.image(layer, names=["honest:1"])

    def lie(config):
        config["rootfs"]["diff_ids"] = [images.sha256(b"other")]

    liar = images.image(layer, names=["liar:1"], edit_config=lie)
    if not together:
        stores.bring(store, honest)
    before = stores.State(store)
    with pytest.raises(DigestMismatchError):
        stores.bring(store, *((honest, liar) if together else (liar,)))
    before.verify()


@root
def test_a_stored_blob_under_the_diff_id_of_another_stored_layer(store):
    """Nothing has to be read: blob and tree exist, but for different layers."""
    one, other = images.layer(content("one")), images.layer(content("other"))
    stores.bring(store, images.image(one, names=["one:1"]), images.image(other, names=["other:1"]))

    def lie(config):
        config["rootfs"]["diff_ids"] = [other.diff_id]

    before = stores.State(store)
    with pytest.raises(DigestMismatchError, match=f"inflates to {one.diff_id}, not to {other.diff_id}"):
        stores.bring(store, images.image(one, names=["liar:1"], edit_config=lie))
    before.verify()


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("size", [1, 10**9])
def test_a_size_that_lies_about_a_blob_that_is_there(store, together, size):
    layer = images.layer(content())
    honest = images.image(layer, names=["honest:1"])

    def lie(manifest):
        manifest["layers"][0]["size"] = size

    liar = images.image(layer, names=["liar:1"], edit_manifest=lie)
    if not together:
        stores.bring(store, honest)
    before = stores.State(store)
    with pytest.raises(SizeMismatchError):
        stores.bring(store, *((honest, liar) if together else (liar,)))
    before.verify()


def test_the_first_bad_layer_of_many_undoes_all(store):
    stores.bring(store, stores.simple("kept", names=("kept:1",)))
    good = [images.layer(content(f"n{n}", os.urandom(50_000))) for n in range(6)]
    bad = images.layer([images.file("a"), images.hardlink("b", "../../etc/passwd")])
    before = stores.State(store)
    with pytest.raises(UnsafePathError):
        stores.bring(store, images.image(*good[:3], bad, *good[3:], names=["bad:1"]))
    before.verify()


# --- healing --------------------------------------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [Path.unlink, cut, replace_by_directory])
@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_an_import_brings_a_lost_blob_again(store, harm, which):
    one = images.example()
    stores.bring(store, one)
    store.sync_trees()
    digest = {"manifest": one.digest, "config": one.config_digest, "layer": one.layers[0].digest}[which]
    before = stores.records(store)
    harm(Path(store.directories.blob(digest)))
    stores.bring(store, one)
    assert stores.records(store) == before
    stores.verify_clean(store)


def lose(store, key):
    shutil.rmtree(store.directories.tree(key))


def distrust(store, key):
    """Make a tree as after a power cut: every file of it is there, and empty."""
    stores.edit(store, "trees", key, boot=OTHER_BOOT, synced=False)
    for directory, _, names in os.walk(store.directories.tree(key)):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)


@root
@pytest.mark.mounts
@pytest.mark.parametrize("harm", [lose, distrust])
@pytest.mark.parametrize("way", ["import", "stack"])
def test_a_tree_that_cannot_be_relied_on_is_built_again(store, harm, way):
    one = images.example()
    stores.bring(store, one)
    before = stores.records(store)
    harm(store, one.diff_ids[0])
    assert store.inventory().trusted_tree(store.incoming(store.find("example:1")).layers[0]) is None
    if way == "import":
        stores.bring(store, one)
    else:
        store.stack(store.find("example:1"))
    assert stores.records(store) == before
    record = rootfs.mount_image(store, store.find("example:1"))
    passwd = Path(record.target, "etc/passwd").read_bytes()
    stores.umount_all(store)
    assert passwd.startswith(b"root:")
    stores.verify_clean(store)


@root
def test_a_synced_tree_of_another_boot_is_relied_on(store):
    one = images.example()
    stores.bring(store, one)
    assert store.sync_trees() > 0
    assert store.sync_trees() == 0
    for key in stores.trees(store):
        stores.edit(store, "trees", key, boot=OTHER_BOOT)
    inodes = {key: os.stat(store.directories.tree(key)).st_ino for key in stores.trees(store)}
    stores.bring(store, one)
    assert {key: os.stat(store.directories.tree(key)).st_ino for key in stores.trees(store)} == inodes


@root
def test_a_tree_that_one_chain_lacks_is_built_though_another_has_its_own(store):
    """The blob is gone, and its first chain has an adapted tree: the other chain still needs the shared one."""
    lower = images.layer([images.directory("./"), images.directory("real"), images.symlink("link", "real")])
    through = images.layer([images.file("link/x", b"x")])
    stores.bring(store, images.image(lower, through, names=["adapted:1"]))
    os.unlink(store.directories.blob(through.digest))
    both = [
        images.image(lower, through, names=["adapted:1"]),
        images.image(images.layer(content()), through, names=["plain:1"]),
    ]
    stores.bring(store, *both)
    assert through.diff_id in stores.trees(store)
    stores.verify_layout(store)
    stores.verify_clean(store)


# --- streams --------------------------------------------------------------------------------------------------------


def test_what_a_stream_spooled_is_adopted_and_not_copied(store, tmp_path, monkeypatch):
    """Blobs of a compressed archive are spooled to files of the ingest, which become the blobs."""
    layers = [images.layer(content("a", os.urandom(2 << 20))), images.layer(content("b", os.urandom(2 << 20)))]
    one = images.image(*layers, names=["x:1"])
    path = images.write_oci_archive(tmp_path / "x.tar.gz", one, compression="gzip")
    inodes = {}

    def opened(spool):
        create = spool.create

        def created():
            fd = create()
            inodes[os.fstat(fd).st_ino] = True
            return fd

        monkeypatch.setattr(spool, "create", created)
        return open_source(str(path), spool)

    import_opened(store, opened)
    found = {digest: os.stat(store.directories.blob(digest)).st_ino for digest in (layer.digest for layer in layers)}
    assert set(found.values()) <= set(inodes)
    stores.verify_layout(store)
    stores.verify_clean(store)


# --- users that may not build trees ---------------------------------------------------------------------------------


@pytest.fixture
def open_directory():
    """A directory that every user can reach: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="arstore-user-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


LOADED = (ctypes, intake)
"""Imported before a test becomes an ordinary user, who may not be able to read root's interpreter."""


@root
def test_an_ordinary_user_gets_no_trees_but_all_the_checks(open_directory):
    home = open_directory / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    good = images.write_oci_archive(open_directory / "good.tar", images.example())
    evil = images.image(images.layer([images.file("../x")]), names=["bad:1"])
    bad = images.write_oci_archive(open_directory / "bad.tar", evil)

    def work():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with Store(str(home / "root"), str(home / "run")) as store:
            import_reference(store, str(good))
            assert stores.trees(store) == set()
            assert store.find("example:1").record.cap is None
            before = stores.State(store)
            with pytest.raises(UnsafePathError):
                import_reference(store, str(bad))
            before.verify()
            (again,) = import_reference(store, str(good))
            assert all(layer.reused for layer in again.layers)

    stores.forked(work)
    # Root builds no trees in another user's store.
    with Store(str(home / "root"), str(home / "run")) as store, pytest.raises(PermissionDeniedError):
        store.stack(store.find("example:1"))
    subprocess.run(["chown", "-R", "0:0", home], check=True)
    with Store(str(home / "root"), str(home / "run")) as store:
        store.stack(store.find("example:1"))
        assert stores.trees(store) >= set(images.example().diff_ids)
        stores.verify_clean(store)


@root
def test_why_a_tree_was_denied_is_said(store, monkeypatch):
    """Also for a tree that is built a second time, for the layers below it."""
    lower = images.layer([images.directory("usr"), images.symlink("lib", "usr")], "none")
    picture = images.image(lower, images.layer([images.file("lib/f", b"f")], "none"), names=["moved:1"])

    def denied(work, source, report):
        outcome = take_layer(work, source, report)
        return outcome if work.adaptation is None else outcome._replace(stat=None, denied="not today")

    monkeypatch.setattr(layer_jobs, "take_layer", denied)
    stores.bring(store, picture)
    image = store.find("moved:1")
    with pytest.raises(PermissionDeniedError, match="could not be built here: not today"):
        store.stack(image)
    monkeypatch.undo()
    assert picture.chain_ids[-1] in store.stack(image)
    stores.verify_clean(store)


@root
def test_a_tree_for_one_chain_takes_the_other_form_where_the_first_cannot_represent_it(store, monkeypatch):
    if store.tree_forms()[0].name == "directory":
        pytest.skip("this host mounts no EROFS indexes")
    lower = images.layer([images.directory("usr"), images.symlink("lib", "usr")], "none")
    picture = images.image(lower, images.layer([images.file("lib/f", b"f")], "none"), names=["moved:1"])

    def refused(work, source, report):
        if work.adaptation is not None and work.form.name != "directory":
            Path(work.tree, "begun").touch()
            raise UnrepresentableError(b"lib/f", "not in this form")
        return take_layer(work, source, report)

    monkeypatch.setattr(layer_jobs, "take_layer", refused)
    (taken,) = stores.bring(store, picture)
    assert taken.denied == ""
    forms = dict(store.stack_records(store.find("moved:1")))
    assert forms[picture.chain_ids[-1]].form == "directory"
    assert not os.path.exists(f"{store.directories.tree(picture.chain_ids[-1])}/begun")
    stores.verify_clean(store)


# --- memory ---------------------------------------------------------------------------------------------------------


def large_archive(path, size):
    """An OCI archive with one layer of one file of *size* zeros, compressed; made without holding it."""
    layer = path.with_suffix(".layer")
    tar_hash = hashlib.sha256()

    class Hashing:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            tar_hash.update(data)
            return self.file.write(data)

    with (
        gzip.GzipFile(layer, "wb", 1, mtime=0) as packed,
        tarfile.open(fileobj=Hashing(packed), mode="w|") as tar,
        open("/dev/zero", "rb") as zeros,
    ):
        info = tarfile.TarInfo("zeros")
        info.size = size
        tar.addfile(info, zeros)
    blob = layer.read_bytes()
    layer.unlink()
    one = images.image(images.Layer(b"", blob, "gzip"), names=["large:1"])
    config = json.loads(one.config)
    config["rootfs"]["diff_ids"] = [f"sha256:{tar_hash.hexdigest()}"]
    raw = images.dump(config)
    manifest = json.loads(one.manifest)
    manifest["config"].update(digest=images.sha256(raw), size=len(raw))
    whole = images.Picture(one.layers, raw, images.dump(manifest), one.names)
    return images.write_oci_archive(path, whole)


@root
@pytest.mark.mounts
def test_memory_does_not_grow_with_a_layer(store, tmp_path):
    path = large_archive(tmp_path / "large.tar", 300 << 20)
    store.close()

    def work():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        import_reference(store, str(path))
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert own - before < 60 << 10, (before, own)
        assert workers - before < 60 << 10, (before, workers)

    stores.forked(work)
    assert len(stores.trees(store)) == 1
    record = rootfs.mount_image(store, store.find("large:1"))
    size = os.path.getsize(f"{record.target}/zeros")
    stores.umount_all(store)
    assert size == 300 << 20


def test_two_images_that_announce_one_layer_with_two_sizes(store):
    """The correct one is imported alone."""
    layer = images.layer(content())

    def larger(manifest):
        manifest["layers"][0]["size"] += 1

    right = images.image(layer, names=["right:1"])
    wrong = images.image(layer, names=["wrong:1"], config={"Env": ["A=b"]}, edit_manifest=larger)
    before = stores.State(store)
    with pytest.raises(SizeMismatchError, match="declared with two sizes"):
        stores.bring(store, right, wrong)
    before.verify()
    stores.bring(store, right)
    with pytest.raises(SizeMismatchError):
        stores.bring(store, wrong)


@pytest.mark.parametrize(
    ("changed", "error"),
    [({}, None), ({"diff_id": "b"}, DigestMismatchError), ({"size": 2}, SizeMismatchError)],
)
def test_what_is_announced_of_one_blob_has_to_be_the_same(changed, error):
    one = SimpleNamespace(digest="d", diff_id="a", size=1)
    with pytest.raises(error, match="is declared with two") if error else nullcontext():
        intake._require_same(one, SimpleNamespace(**{**vars(one), **changed}))
