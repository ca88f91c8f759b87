"""The library and the command line have the same defaults, also those of the configuration file."""

from __future__ import annotations

import dataclasses
import os

import pytest
from support import images

import arstore
from arstore import errors
from arstore.cli.main import cli, run
from arstore.cli.session import Session


@pytest.fixture(autouse=True)
def no_files_of_this_host(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("ARSTORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("arstore.api.places.SYSTEM_RUNROOT", str(tmp_path / "usual"))
    monkeypatch.setattr("arstore.api.places.host_config", lambda etc="": str(tmp_path / "etc/config.toml"))


@pytest.fixture
def config(tmp_path):
    """Write the user's file."""

    def write(text):
        path = tmp_path / "home/arstore/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'root = "{tmp_path}/root"\nrunroot = "{tmp_path}/run"\n{text}')
        return path

    return write


@pytest.fixture
def archive(tmp_path):
    return images.write_oci_archive(tmp_path / "app.tar", images.example(names=["app:1"]))


def commands(monkeypatch):
    """Root and runroot of a command."""
    session = Session()
    with monkeypatch.context() as patched:
        patched.setattr(cli.find("images"), "function", lambda _session, **_words: 0)
        assert run(session, ["images"]) == 0
    return session.directories()


def test_both_find_the_same_store(config, tmp_path, monkeypatch):
    with arstore.open() as before:
        assert (before.root, before.runroot) == commands(monkeypatch)
    config("")
    with arstore.open() as store:
        assert (store.root, store.runroot) == (f"{tmp_path}/root", f"{tmp_path}/run") == commands(monkeypatch)
    monkeypatch.setenv("ARSTORE_ROOT", f"{tmp_path}/other")
    with arstore.open() as store:
        assert (store.root, store.runroot) == commands(monkeypatch)
        assert store.runroot.startswith(f"{tmp_path}/run/stores/")
    with arstore.open(tmp_path / "given", tmp_path / "here") as store:
        assert (store.root, store.runroot) == (f"{tmp_path}/given", f"{tmp_path}/here")
    monkeypatch.delenv("ARSTORE_ROOT")
    with arstore.open(config=os.devnull) as store:
        assert (store.root, store.runroot) == (before.root, before.runroot)


def test_a_file_in_its_place(config, tmp_path):
    config("")
    other = tmp_path / "other.toml"
    other.write_text('root = "/srv/other"\n')
    with arstore.open(config=other) as store:
        assert store.root == "/srv/other"


def test_a_wrong_file_is_an_error_of_open(config, tmp_path):
    path = config("rot = 1\n")
    with pytest.raises(errors.ConfigFileError) as caught:
        arstore.open()
    assert caught.value.what == str(path)
    assert isinstance(caught.value, errors.HostError)
    assert not (tmp_path / "root").exists()


def test_limits(config, archive):
    config("[limits]\nheaders = 1\n")
    with arstore.open() as store:
        for bring in (store.import_images, store.import_image, store.load):
            with pytest.raises(errors.LimitError):
                bring(archive)
        with pytest.raises(errors.LimitError):
            store.copy(archive, "store:")
        assert store.import_images(archive, limits=arstore.Limits())


def test_policy(config, archive, tmp_path):
    (tmp_path / "reject.json").write_text('{"default": [{"type": "reject"}]}')
    config(f'policy = "{tmp_path}/reject.json"\n')
    with arstore.open() as store, pytest.raises(errors.RejectedError):
        store.import_images(archive)
    (tmp_path / "accept.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    with arstore.open(policy=tmp_path / "accept.json") as store:
        assert store.import_images(archive)


def test_the_label(config, archive):
    config('runtime = "no-such-runtime"\n[load]\nrequire-label = true\n')
    with arstore.open() as store:
        with pytest.raises(errors.PipelineRefusedError):
            store.load(archive)
        with pytest.raises(errors.PipelineRefusedError):
            store.load(archive, options=arstore.LoadOptions(keep_images=True))
        with pytest.raises(errors.ArstoreError) as caught:
            store.load(archive, options=arstore.LoadOptions(require_label=False))
        assert not isinstance(caught.value, errors.PipelineRefusedError)


def test_the_options_of_a_load_leave_open_what_can_be_configured():
    options = arstore.LoadOptions()
    assert (options.require_label, options.limits) == (None, None)
    assert dataclasses.replace(options, require_label=True).require_label


@pytest.mark.root
def test_the_form_of_trees(config, archive):
    config('tree = "directory"\n')
    with arstore.open() as store:
        store.import_images(archive)
        with store._open().graph.read() as snapshot:
            assert {tree.form for _, tree in snapshot.trees()} == {"directory"}


def test_additional_stores(config, archive, tmp_path):
    with arstore.open(tmp_path / "more", tmp_path / "run2") as more:
        more.import_images(archive)
    config(f'[[additional-store]]\npath = "{tmp_path}/more"\n')
    with arstore.open() as store:
        store.import_images(archive)
        assert [image.names for image in store.images()].count(("app:1",)) == 2
