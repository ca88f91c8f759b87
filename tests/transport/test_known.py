"""A pull of what the store has already asks for the manifest, writes nothing, and leaves all doubt to the import."""

import os

import pytest
from support import images, stores

from arstore.disk.staging import Ingest
from arstore.oci.platform import parse
from arstore.tar.limits import Limits
from arstore.transport import copy
from arstore.transport.copy import ImportOptions, Wanted, import_reference
from arstore.transport.selection import known
from arstore.trust.rules import Rules

PICTURE = images.example()
ARM = images.example(architecture="arm64")


def _options(connect):
    return connect.access()._options


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


@pytest.fixture
def pull(server, connect, store, monkeypatch):
    """Pull `a/b:1`; the function also returns whether the import ran."""
    ran = []
    monkeypatch.setattr(copy, "import_opened", lambda *a, run=copy.import_opened, **k: ran.append(1) or run(*a, **k))
    server.put_image("a/b", "1", PICTURE)

    def pulled(reference="a/b:1", **options):
        ran.clear()
        options = ImportOptions(registries=_options(connect), **{"rules": Rules(), **options})
        (taken,) = import_reference(store, f"docker://{server.host}/{reference}", options)
        return taken, bool(ran)

    assert pulled()[1]
    return pulled


def test_nothing_is_written_and_only_the_manifest_is_asked_for(pull, server, store, monkeypatch):
    before, count = stores.stamps(store), len(server.asked())
    monkeypatch.setattr(Ingest, "__init__", None)
    taken, ran = pull()
    assert not ran
    assert stores.stamps(store) == before
    assert [one.path for one in server.asked()[count:]] == ["/v2/", "/v2/a/b/manifests/1"]
    assert taken.names == (f"{server.host}/a/b:1",)


def test_the_answer_is_that_of_an_import(pull, monkeypatch):
    taken, ran = pull()
    monkeypatch.setattr(known, "known_image", lambda *_: None)
    assert (pull(), ran) == ((taken, True), False)


def test_a_name_of_the_users_own(pull, store):
    assert pull(name="mine")[1]
    taken, ran = pull(name="mine")
    assert (taken.names, ran) == (("mine:latest",), False)


def test_the_image_of_an_index_for_a_platform(pull, server):
    both = images.index(PICTURE, ARM)
    server.put_image("a/b", "", ARM)
    server.put_manifest("a/b", both.raw, images.OCI_INDEX, "both")
    arm = Wanted(parse("linux/arm64"))
    assert pull("a/b:both", wanted=arm)[1]
    taken, ran = pull("a/b:both", wanted=arm)
    assert (taken.digest, ran) == (ARM.digest, False)
    # The name belongs to the other image now, if that is pulled.
    assert pull("a/b:both", wanted=Wanted(parse("linux/amd64")))[1]
    assert pull("a/b:both", wanted=arm)[1]


@pytest.mark.parametrize(
    "options",
    [
        {"wanted": Wanted(every=True)},
        {"wanted": Wanted(referrers=True)},
        {"wanted": Wanted(parse("linux/amd64"))},
        {"limits": Limits(strict_xattrs=True)},
    ],
)
def test_what_asks_for_more_is_an_import(pull, options):
    assert pull(**options)[1]


def test_a_policy_is_applied_by_the_import(pull, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(
        '{"default": [{"type": "insecureAcceptAnything"}], "transports": {"dir": {"": [{"type": "reject"}]}}}'
    )
    assert pull(rules=Rules(str(path)))[1]


def test_a_tag_that_moved(pull, server, store):
    server.put_image("a/b", "1", images.example(compression="none"))
    taken, ran = pull()
    assert ran
    assert taken.digest != PICTURE.digest
    assert pull() == (taken._replace(layers=tuple(one._replace(reused=True) for one in taken.layers)), False)


@pytest.mark.parametrize("which", ["layer", "config", "manifest", "name", "tree"])
def test_what_is_missing_is_brought_by_the_import(pull, store, server, which):
    if which == "name":
        store.tag(f"{server.host}/a/b:1", "kept")
        store.untag(f"{server.host}/a/b:1")
    elif which == "tree":
        if not store.makes_trees:
            pytest.skip("this user makes no trees")
        tree = store.trusted_stack(store.find(PICTURE.digest))[0][0]
        os.rename(store.directories.tree(tree), store.directories.tree(tree) + ".gone")
    else:
        digest = {"layer": PICTURE.layers[0].digest, "config": PICTURE.config_digest, "manifest": PICTURE.digest}[which]
        os.unlink(store.directories.blob(digest))
    assert pull()[1]
    assert not pull()[1]


def test_attributes_that_could_not_be_kept_are_told_again(server, connect, store):
    layer = images.layer([images.file("f", b"x", xattrs={"trusted.overlay.opaque": b"y"})])
    picture = images.image(layer)
    server.put_image("a/b", "1", picture)
    options = ImportOptions(registries=_options(connect), rules=Rules())
    if not store.makes_trees:
        pytest.skip("this user makes no trees, which alone lack attributes")
    for _ in range(2):
        (taken,) = import_reference(store, f"docker://{server.host}/a/b:1", options)
        assert [one.dropped for one in taken.layers] == [1]
