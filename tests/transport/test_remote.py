"""Imports from sources without files: a network, to which workers have no access, and streams."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import budget, images, remote, stores

from arstore.errors import (
    ArstoreError,
    CompressionError,
    DigestMismatchError,
    HostError,
    MissingBlobError,
    NoSpaceError,
    SizeMismatchError,
    TruncatedError,
)
from arstore.maintenance.gc import collect
from arstore.store.ingest import taking as publication
from arstore.store.ingest.layer_pass import SMALL
from arstore.store.store import Store
from arstore.tar.limits import Limits
from arstore.transport.copy import ImportOptions, import_opened
from arstore.workers import confinement

WAYS = ("remote", "streams")
FORMS = ("auto", "directory")
root = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        assert Path("/proc/self/task", str(os.getpid()), "children").read_text() == ""


@pytest.fixture(autouse=True)
def _nothing_left():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def noise(size, seed=b"x"):
    """Incompressible bytes."""
    return hashlib.shake_256(seed).digest(size)


def large(compression, name="large"):
    return images.layer([images.directory("./"), images.file(name, noise(SMALL + 70000, name.encode()))], compression)


def small(number, compression):
    return images.layer([images.directory("./"), images.file(f"f{number}", b"%d" % number)], compression)


def mixed(compression, name="mixed:1"):
    """One large layer, which has a separate worker, and some small ones, which share one."""
    return images.image(large(compression), *(small(number, compression) for number in range(6)), names=[name])


@contextmanager
def source_of(way, tmp_path, *pictures, **more):
    """A source of this kind, and the server behind it, if there is one."""
    if way == "streams":
        yield remote.Streams(*pictures, tamper=more.get("tamper"))
        return
    directory = Path(tempfile.mkdtemp(dir=tmp_path))
    with remote.served(directory, *pictures, **more) as server:
        source = server.source()
        source.server = server
        yield source


def bring(store, source, **options):
    return import_opened(store, lambda _spool: source, ImportOptions(**options))


def fetched(source):
    """The number of requests of each blob, and the processes that made them."""
    requests = [one for one in source.server.requests("GET") if one.path.startswith("/blobs/")]
    return Counter(one.path.removeprefix("/blobs/") for one in requests), {one.process for one in requests}


# --- what comes in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", images.COMPRESSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_every_compression_comes_in(store, tmp_path, way, compression, form):
    one = mixed(compression)
    with source_of(way, tmp_path, one) as source:
        (taken,) = bring(store, source, tree=form)
    assert taken.digest == one.digest
    assert {layer.digest for layer in one.layers} <= stores.blobs(store)
    stores.verify_clean(store)


@root
@pytest.mark.parametrize("way", WAYS)
def test_what_comes_in_is_what_an_archive_brings(store, tmp_path, way):
    one = images.example()
    with source_of(way, tmp_path, one) as source:
        bring(store, source)
    (tmp_path / "other").mkdir()
    with stores.opened(tmp_path / "other") as other:
        stores.bring(other, one)
        assert stores.names(store) == stores.names(other)
        found, wanted = stores.records(store), stores.records(other)
        assert found.keys() == wanted.keys()
        trees = [key for key in wanted if key.startswith("trees/")]
        assert [found[key].sums for key in trees] == [wanted[key].sums for key in trees]


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_all_compressions_together(store, tmp_path, way):
    layers = [small(number, images.COMPRESSIONS[number % 5]) for number in range(25)]
    one = images.image(*layers, *(large(each, each) for each in images.COMPRESSIONS), names=["all:1"])
    with source_of(way, tmp_path, one) as source:
        bring(store, source)
    stores.verify_clean(store)


def test_a_remote_layer_is_opened_once_and_in_a_fetching_process(store, tmp_path):
    layers = [small(number, "gzip") for number in range(150)]
    one = images.image(*layers, large("gzip", "a"), large("zstd", "b"), names=["many:1"])
    with source_of("remote", tmp_path, one) as source:
        bring(store, source)
        times, processes = fetched(source)
        assert times == Counter(dict.fromkeys((one.config_digest, *(layer.digest for layer in one.layers)), 1))
        assert source.server.requests("HEAD") == []
        # The config was read here; groups of layers share a process.
        assert os.getpid() in processes
        assert 4 <= len(processes) <= 8
    stores.verify_clean(store)


def test_what_the_store_has_is_not_asked_for(store, tmp_path):
    one = mixed("gzip")
    two = images.image(*one.layers, small(77, "zstd"), names=["two:1"])
    with source_of("remote", tmp_path, one, two) as source:
        stores.bring(store, one)
        bring(store, source)
        times, _ = fetched(source)
    if os.geteuid() == 0:
        assert set(times) == {one.config_digest, two.config_digest, two.layers[-1].digest}


def test_names_of_hosts_are_resolved_under_the_confinement(store, tmp_path):
    with remote.served(tmp_path, mixed("gzip")) as server:
        bring(store, server.source("localhost"))
    stores.verify_clean(store)


def test_an_empty_image_and_an_empty_layer(store, tmp_path):
    one = images.image(images.layer([], "none"), images.layer([], "gzip"), names=["empty:1"])
    with source_of("remote", tmp_path, one, images.image(names=["none:1"])) as source:
        bring(store, source)
    stores.verify_clean(store)


@root
def test_a_layer_that_takes_another_form_is_not_fetched_again(store, tmp_path, monkeypatch):
    """The second worker reads the blob that the first one has written."""
    from arstore.trees.erofs import builder
    from arstore.trees.format import UnrepresentableError

    def refuse(_self, entry, _content):
        raise UnrepresentableError(entry.path, "refused by the test")

    monkeypatch.setattr(builder.ErofsBuilder, "add", refuse)
    one = mixed("gzip")
    with source_of("remote", tmp_path, one) as source:
        bring(store, source)
        times, _ = fetched(source)
    assert set(times.values()) == {1}
    stores.verify_clean(store)


def test_a_second_attempt_asks_for_nothing_again(store, tmp_path, monkeypatch):
    """Another process deletes reused blobs; those fetched by then stay."""
    one = mixed("gzip")
    two = images.image(*one.layers[:2], small(8, "zstd"), large("gzip", "other"), names=["two:1"])
    stores.bring(store, one)
    publish, attempts = publication.publish, []

    def first_delete(*arguments):
        attempts.append(arguments)
        if len(attempts) == 1:
            store.close()
            stores.forked(lambda: remove_everything(store.directories))
        return publish(*arguments)

    monkeypatch.setattr(publication, "publish", first_delete)
    with source_of("remote", tmp_path, two) as source:
        bring(store, source)
        times, _ = fetched(source)
    assert len(attempts) == 2
    assert times == Counter(dict.fromkeys([two.config_digest, *(layer.digest for layer in two.layers)], 1))
    stores.verify_clean(store)


def remove_everything(directories):
    with Store(directories.root, directories.runroot) as other:
        with other.graph.write() as change:
            for name in list(stores.names(other)):
                change.delete("names", name)
        collect(other)


# --- what does not --------------------------------------------------------------------------------------------------

FAULTS = {
    "truncated": (lambda data: data[: len(data) // 2], TruncatedError),
    "empty": (lambda _data: b"", TruncatedError),
    # Most compressions end with a checksum, which is verified before the digest.
    "altered": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), (DigestMismatchError, CompressionError)),
    "too long": (lambda data: data + b"x", SizeMismatchError),
    "much too long": (lambda data: data + bytes(5 << 20), SizeMismatchError),
    "no such compression": (lambda data: b"\x04\x22\x4d\x18" + data[4:], ArstoreError),
}


BAD = [
    *((fault, "gzip") for fault in FAULTS),
    *((fault, one) for fault in ("truncated", "altered") for one in images.COMPRESSIONS if one != "gzip"),
]
CASES = [(way, which, *bad) for way in WAYS for which in ("large", "small") for bad in BAD]


@pytest.mark.parametrize(("way", "which", "fault", "compression"), budget.one_of(3, CASES))
def test_a_bad_layer_is_one_error_and_the_store_as_before(store, tmp_path, way, fault, which, compression):
    stores.bring(store, stores.simple("before"))
    before = stores.State(store)
    one = mixed(compression)
    bad = one.layers[0 if which == "large" else 3].digest
    alter, error = FAULTS[fault]
    with source_of(way, tmp_path, one, tamper={bad: alter}) as source, pytest.raises(error) as caught:
        bring(store, source)
    assert caught.value.what == f"layer {bad}"
    before.verify()


@pytest.mark.parametrize("which", [0, 3])
@pytest.mark.parametrize("fault", ["cut", "absent"])
def test_what_fails_in_the_fetching_process_is_the_error(store, tmp_path, which, fault):
    before = stores.State(store)
    one = mixed("gzip")
    bad = one.layers[which].digest
    with (
        source_of("remote", tmp_path, one, **{fault: frozenset({bad})}) as source,
        pytest.raises((ArstoreError, OSError)) as caught,
    ):
        bring(store, source)
    if fault == "absent":
        assert isinstance(caught.value, MissingBlobError)
        assert bad in str(caught.value)
    elif isinstance(caught.value, OSError):
        assert caught.value.filename == f"blob {bad}"
    else:
        assert isinstance(caught.value, TruncatedError)
    before.verify()


@pytest.mark.parametrize("error", [ValueError("odd"), TimeoutError(), RuntimeError(), MemoryError()])
def test_any_error_of_a_source_says_something(store, tmp_path, error):
    before = stores.State(store)
    one = mixed("gzip")

    class Failing(remote.Streams):
        is_remote = True

        def open_blob(self, digest):
            if digest == one.layers[2].digest:
                raise error
            return super().open_blob(digest)

    with pytest.raises(HostError, match=f"blob {one.layers[2].digest}.*cannot be fetched"):
        bring(store, Failing(one))
    before.verify()


def test_an_absent_stream_is_found_before_anything_is_read(store):
    one = mixed("gzip")
    opened = []

    class Lacking(remote.Streams):
        def require_blob(self, digest):
            if digest == one.layers[-1].digest:
                raise MissingBlobError(self.what, f"does not hold the blob {digest}")

        def open_blob(self, digest):
            opened.append(digest)
            return super().open_blob(digest)

    with pytest.raises(MissingBlobError):
        bring(store, Lacking(one))
    assert opened == [one.digest, one.config_digest]


def test_a_fetching_process_that_dies_is_an_error(store):
    before = stores.State(store)
    one = mixed("gzip")

    class Dying(remote.Streams):
        is_remote = True

        def open_blob(self, digest):
            if digest == one.layers[0].digest:
                os._exit(3)
            return super().open_blob(digest)

    with pytest.raises(HostError, match="ended unexpectedly"):
        bring(store, Dying(one))
    before.verify()


def test_an_endless_layer_is_given_up(store):
    before = stores.State(store)
    one = mixed("none")

    class Endless(remote.Streams):
        is_remote = True

        def open_blob(self, digest):
            stream = super().open_blob(digest)
            if digest == one.layers[0].digest:
                stream.read = lambda size=-1, /: bytes(size)
            return stream

    with pytest.raises(SizeMismatchError):
        bring(store, Endless(one))
    before.verify()


def test_a_full_disk_is_found_before_it_is_full(store):
    before = stores.State(store)
    source = remote.Streams(mixed("none"))
    source.is_remote = True
    with pytest.raises(NoSpaceError):
        bring(store, source, limits=Limits(reserve=1 << 62))
    before.verify()


MISSING = {
    "no Landlock": ["arstore.linux.isolation.landlock.version"],
    "no seccomp": ["arstore.linux.isolation.seccomp.supported"],
    "neither": ["arstore.linux.isolation.landlock.version", "arstore.linux.isolation.seccomp.supported"],
}


@pytest.mark.parametrize("what", MISSING)
def test_a_host_that_lacks_something_imports_as_well(store, tmp_path, monkeypatch, what):
    for name in MISSING[what]:
        monkeypatch.setattr(name, lambda: 0)
    with source_of("remote", tmp_path, mixed("gzip")) as source:
        bring(store, source)
    stores.verify_clean(store)


# --- the rights of both processes -----------------------------------------------------------------------------------


@root
@pytest.mark.parametrize("what", ["read", "write", "run", "fork"])
def test_a_fetching_process_has_no_files_and_runs_no_programs(store, tmp_path, what):
    if "Landlock" not in confinement.means() or "seccomp" not in confinement.means():
        pytest.skip("nothing here confines a process")
    secret = tmp_path / "secret"
    secret.write_text("s")
    one = mixed("gzip")
    attempts = {
        "read": secret.read_bytes,
        "write": lambda: (tmp_path / "new").write_bytes(b""),
        "run": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
    }

    class Curious(remote.Streams):
        is_remote = True

        def open_blob(self, digest):
            if digest == one.layers[0].digest:
                attempts[what]()
            return super().open_blob(digest)

    with pytest.raises((HostError, PermissionError)):
        bring(store, Curious(one))
    assert not (tmp_path / "new").exists()


def test_a_fetching_process_has_no_file_open(store):
    one = mixed("gzip")
    own = os.getpid()
    seen, told = os.pipe()

    class Looking(remote.Streams):
        is_remote = True

        def open_blob(self, digest):
            if os.getpid() != own:
                files = [fd for fd in range(3, 256) if _kind(fd) in {stat.S_IFREG, stat.S_IFDIR}]
                os.write(told, f"{files}\n".encode())
            return super().open_blob(digest)

    spooled = []

    def opened(spool):
        spooled.append(spool.create())
        return Looking(one)

    import_opened(store, opened, ImportOptions())
    os.close(told)
    with open(seen) as file:
        found = file.read().splitlines()
    os.close(spooled[0])
    assert found == ["[]"] * len(one.layers)


def _kind(fd):
    try:
        return stat.S_IFMT(os.fstat(fd).st_mode)
    except OSError:
        return 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_a_confined_worker_imports_nothing_of_its_own(store, tmp_path, monkeypatch, compression, form):
    """Everything it needs was loaded before, in one place: a late import fails there, or would for another image."""
    entered = confinement.Confinement.enter

    def enter(self):
        entered(self)

        def refuse(event, args):
            if event == "import" and not self.sockets and args[0].split(".")[0] not in sys.stdlib_module_names:
                raise RuntimeError(f"{args[0]} is imported late")

        sys.addaudithook(refuse)

    monkeypatch.setattr(confinement.Confinement, "enter", enter)
    one = images.image(large(compression), *images.implied_layers(compression), names=["late:1"])
    stores.forked(lambda: bring(store, remote.Streams(one), tree=form))
    monkeypatch.undo()
    stores.verify_clean(store)
