"""A push of what the registry has already under its tag asks for the tag, writes nothing, and leaves all doubt to the
copy."""

import os

import pytest
from support import images, stores

from arstore.api.copying import Both, copy_out, export_options
from arstore.disk.staging import Ingest
from arstore.errors import NotFoundError, StoreDamagedError
from arstore.oci.platform import parse
from arstore.store.progress import NoProgress
from arstore.tar.limits import DEFAULT_LIMITS
from arstore.transport.export import copying, known
from arstore.transport.selection.options import Wanted
from arstore.trust.rules import Rules

PICTURE = images.image(images.layer([images.file("a", b"1")]), images.layer([images.file("b", b"2")]), names=["app:1"])
ARM = images.example(architecture="arm64")


def options(**changed):
    how = {"form": "", "compression": "", "level": None, "preserve_digests": False, "all_platforms": False}
    return export_options(**{**how, "limits": DEFAULT_LIMITS, **changed})


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        stores.bring(made, PICTURE)
        yield made


@pytest.fixture
def push(server, connect, store, monkeypatch):
    """Push `app:1`; the function also returns whether the copy ran."""
    ran = []
    monkeypatch.setattr(
        copying, "export_stored", lambda *a, run=copying.export_stored, **k: ran.append(1) or run(*a, **k)
    )

    def pushed(reference="a/b:1", text="app:1", wanted=None, rules=None, progress=None, **how):
        ran.clear()
        access = Both(connect.access()._options)
        wanted = wanted or Wanted()
        place = f"docker://{server.host}/{reference}"
        done = copy_out(store, [text], place, wanted, options(**how), access, None, rules or Rules(), progress)
        return done, bool(ran)

    assert pushed()[1]
    return pushed


def test_nothing_is_written_and_only_the_tag_is_asked_for(push, server, store, monkeypatch):
    before, count = stores.stamps(store), len(server.asked())
    monkeypatch.setattr(Ingest, "__init__", None)
    done, ran = push()
    assert not ran
    assert stores.stamps(store) == before
    assert [(one.method, one.path) for one in server.asked()[count:]] == [
        ("GET", "/v2/"),
        ("HEAD", "/v2/a/b/manifests/1"),
    ]
    assert [one.names for one in done] == [(f"{server.host}/a/b:1",)]


def test_the_answer_is_that_of_a_copy(push, monkeypatch):
    told = []

    class Told(NoProgress):
        def __getattribute__(self, name):
            return lambda *words, **more: told.append((name, words, tuple(more.items())))

    done, ran = push(progress=Told())
    by_itself, told = told, []
    monkeypatch.setattr(known, "known_there", lambda *_: None)
    assert push(progress=Told()) == (done, True)
    assert (ran, told) == (False, by_itself)


def test_a_push_that_brings_something_asks_once(push, server):
    count = len(server.asked())
    assert push("a/b:2")[1]
    asked = [(one.method, one.path) for one in server.asked()[count:]]
    assert asked[:2] == [("GET", "/v2/"), ("HEAD", "/v2/a/b/manifests/2")]
    assert asked.count(asked[0]) == asked.count(asked[1]) == 1


def test_a_tag_that_moved_is_moved_back(push, server):
    server.put_image("a/b", "1", ARM)
    assert push()[1]
    assert not push()[1]
    assert server.tags["a/b"]["1"] == PICTURE.digest


@pytest.mark.parametrize(
    "how",
    [
        {"wanted": Wanted(every=True), "all_platforms": True},
        {"wanted": Wanted(referrers=True)},
        {"wanted": Wanted(parse("linux/amd64"))},
        {"form": "v2s2"},
        {"compression": "zstd"},
        {"remove_signatures": True},
    ],
    ids=str,
)
def test_what_asks_for_more_is_a_copy(push, how):
    assert push(**how)[1]


def test_a_reference_without_a_tag_is_a_copy(push):
    assert push(f"a/b@{PICTURE.digest}")[1]


def test_a_policy_is_applied_by_the_copy(push, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(
        '{"default": [{"type": "insecureAcceptAnything"}], "transports": {"dir": {"": [{"type": "reject"}]}}}'
    )
    assert push(rules=Rules(str(path)))[1]


def test_an_index_is_a_copy(push, store):
    stores.bring(store, images.index(PICTURE, ARM, names=["both:1"]), every=True)
    for _ in range(2):
        assert push("a/both:1", "both:1", wanted=Wanted(every=True), all_platforms=True)[1]


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_what_is_missing_is_told_by_the_copy(push, store, which):
    digest = {"layer": PICTURE.layers[0].digest, "config": PICTURE.config_digest, "manifest": PICTURE.digest}[which]
    os.unlink(store.directories.blob(digest))
    if which == "layer":
        # The registry has it, and the copy reads no layer that is there.
        assert push()[1]
    else:
        with pytest.raises(StoreDamagedError):
            push()


def test_an_unknown_image(push):
    with pytest.raises(NotFoundError):
        push(text="other:1")
