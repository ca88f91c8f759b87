"""config.toml: each key counts after options and the environment; a wrong file ends a command before it begins."""

from __future__ import annotations

import json
import os
from unittest.mock import patch

import pytest
from support import images

from arstore.cli.main import cli, run
from arstore.cli.session import Session
from arstore.errors import ConfigFileError
from arstore.store.store import Store

REJECT = '{"default": [{"type": "reject"}]}'


@pytest.fixture(autouse=True)
def no_files_of_this_host(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("ARSTORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("arstore.api.places.SYSTEM_RUNROOT", str(tmp_path / "usual"))
    monkeypatch.setattr("arstore.api.places.host_config", lambda etc="": str(tmp_path / "etc/config.toml"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write the file that ARSTORE_CONFIG names."""

    def write(text):
        path = tmp_path / "given.toml"
        path.write_text(text)
        path.chmod(0o644)
        monkeypatch.setenv("ARSTORE_CONFIG", str(path))
        return path

    return write


def begun(*words, command="images"):
    """The session of a command line, as its command finds it."""
    session = Session()
    with patch.object(cli.find(command), "function", lambda _session, **_words: 0):
        assert run(session, [*map(str, words), command]) == 0
    return session


# --- precedence -----------------------------------------------------------------------------------------------------


def test_root_and_runroot(config, tmp_path, monkeypatch):
    default = begun().directories()
    config('root = "/from/file"\nrunroot = "/run/file"\n')
    assert begun().directories() == ("/from/file", "/run/file")
    monkeypatch.setenv("ARSTORE_ROOT", "/from/environment")
    monkeypatch.setenv("ARSTORE_RUNROOT", "/run/environment")
    assert begun().directories() == ("/from/environment", "/run/environment")
    assert begun("--root", "/from/option", "--runroot", "/run/option").directories() == ("/from/option", "/run/option")
    monkeypatch.delenv("ARSTORE_RUNROOT")
    root, runroot = begun("--root", "/from/option").directories()
    assert root == "/from/option"
    assert runroot.startswith("/run/file/stores/")
    monkeypatch.delenv("ARSTORE_ROOT")
    assert begun("--config", os.devnull).directories() == default


def test_the_log_level(config):
    assert begun().level == "info"
    config('log-level = "debug"\n')
    assert begun().level == "debug"
    assert begun("--log-level", "error").level == "error"
    assert begun("--log-level", "info").level == "info"


def test_limits(config):
    assert begun().limits(()).ratio == 200
    config('[limits]\nratio = 5\ninflated = "2k"\n')
    session = begun()
    assert session.limits(())[:1] == Session().limits(())[:1]
    assert (session.limits(()).ratio, session.limits(()).inflated) == (5, 2048)
    found = session.limits(("ratio=6",), strict_xattrs=True)
    assert (found.ratio, found.inflated, found.strict_xattrs) == (6, 2048, True)


def test_runtime_policy_and_label(config):
    plain = begun()
    assert (plain.policy(None), plain.requires_label(None)) == ("", False)
    config('runtime = "runc"\npolicy = "/p.json"\n[load]\nrequire-label = true\n')
    session = begun()
    assert session.settings.runtime == "runc"
    assert (session.policy(None), session.policy("/q.json")) == ("/p.json", "/q.json")
    assert [session.requires_label(one) for one in (None, True, False)] == [True, True, False]


def test_additional_stores(config, monkeypatch, tmp_path):
    def roots(*words):
        return [one.root for one in begun(*words).additional_stores("/own")]

    conf = tmp_path / "stores.conf"
    conf.write_text('[[additional-store]]\npath = "/from/stores.conf"\n')
    for module in ("arstore.api.places.stores_conf", "arstore.api.stores_conf.stores_conf"):
        monkeypatch.setattr(module, lambda _environ, _uid: str(conf))
    assert roots() == ["/from/stores.conf"]
    config('[[additional-store]]\npath = "/from/file"\nowner = "nobody"\n')
    assert roots() == ["/from/file"]
    assert begun().additional_stores("/own")[0].owners == {65534}
    monkeypatch.setenv("ARSTORE_ADDITIONAL_STORES", "/from/environment")
    assert roots() == ["/from/environment"]
    assert roots("--additional-store", "/from/option") == ["/from/option"]
    monkeypatch.delenv("ARSTORE_ADDITIONAL_STORES")
    config("additional-store = []\n")
    assert roots() == []


def test_a_user_comes_before_the_host(tmp_path):
    for place, text in (("etc/config.toml", 'log-level = "error"\n'), ("home/arstore/config.toml", "")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text)
    assert begun().level == "error"
    (tmp_path / "home/arstore/config.toml").write_text('log-level = "debug"\n')
    assert begun().level == "debug"


def test_the_option_comes_before_the_variable(config, tmp_path):
    config('log-level = "error"\n')
    other = tmp_path / "other.toml"
    other.write_text('log-level = "debug"\n')
    assert begun("--config", other).level == "debug"


# --- what the keys do -----------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    return images.write_oci_archive(tmp_path / "example.tar", images.example(names=["example:1"]))


def forms(program):
    with Store(str(program.root), str(program.runroot)) as store, store.graph.read() as snapshot:
        return {record.form for _, record in snapshot.trees()}


@pytest.mark.root
@pytest.mark.parametrize(("words", "form"), [((), "directory"), (("--tree", "erofs"), "erofs")])
def test_the_form_of_new_trees(storeless, config, archive, words, form):
    config('tree = "directory"\n')
    storeless.ok("import", archive, *words)
    assert form in forms(storeless)
    if form == "directory":
        assert forms(storeless) == {"directory"}


def test_a_limit_refuses_an_archive(storeless, config, archive):
    config("[limits]\nheaders = 1\n")
    assert storeless("import", archive).status == 20
    storeless.ok("import", archive, "--limit", "headers=1000")


def test_a_policy_refuses_an_image(storeless, config, archive, tmp_path):
    (tmp_path / "reject.json").write_text(REJECT)
    config(f'policy = "{tmp_path}/reject.json"\n')
    assert storeless("import", archive).status == 21
    (tmp_path / "accept.json").write_text(REJECT.replace("reject", "insecureAcceptAnything"))
    storeless.ok("import", archive, "--policy", tmp_path / "accept.json")


def test_a_label_that_is_required(storeless, config, archive):
    config("[load]\nrequire-label = true\n")
    assert storeless("load", "-i", archive).status == 63
    config('runtime = "/nonexistent/crun"\n[load]\nrequire-label = true\n')
    # The image has no command, or there is no runtime; but its label is not asked for.
    assert storeless("load", "--no-require-label", "-i", archive).status not in {0, 2, 63}


@pytest.mark.mounts
def test_a_runtime_that_is_not_there(filled, config):
    path = config('runtime = "no-such-runtime"\n')
    result = filled("run", "--json", "example:1", "true")
    assert result.error["kind"] == "RuntimeMissing"
    assert result.error["what"] == "no-such-runtime"
    assert result.error["hint"] == f"runtime in {path} chooses it"
    assert filled("run", "--json", "--runtime", "no-such-program", "example:1", "true").error["hint"] == ""


# --- what is wrong --------------------------------------------------------------------------------------------------

WRONG = ["root = 1", "rot = 1", '[limits]\nratio = "1x"', "root = ", "load = 1"]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_one_line_and_45_and_nothing_happens(storeless, config, archive, text):
    path = config(text)
    result = storeless("import", archive)
    assert (result.status, result.out) == (45, b"")
    assert result.err.startswith(f"arstore: {path}: ")
    assert len(result.err.splitlines()) == 1
    assert not storeless.root.exists()
    assert not storeless.runroot.exists()
    result = storeless("images", "--json")
    assert (result.error["kind"], result.error["what"], result.error["exit_code"]) == ("ConfigFile", str(path), 45)


def test_a_file_that_is_named_must_exist(storeless, monkeypatch, tmp_path):
    assert storeless("--config", tmp_path / "none", "images").status == 45
    monkeypatch.setenv("ARSTORE_CONFIG", str(tmp_path / "none"))
    assert storeless("images").status == 45
    assert storeless("--config", "", "images").status == 2


def test_help_and_the_version_work_all_the_same(storeless, config):
    config("rot = 1")
    for words in ((), ("--help",), ("images", "--help"), ("--version",)):
        assert storeless(*words).status == 0
    assert storeless("images", "--nonsense").status == 2


def test_completion_and_man_do_without_the_files(storeless, config, tmp_path):
    """A shell reads the script when it starts, and a package writes the pages."""
    config("rot = 1")
    for shell in ("bash", "zsh", "fish"):
        assert storeless.ok("completion", shell).err == ""
    assert storeless.ok("man", tmp_path / "man").err == ""


def test_both_parsers_read_the_file(config):
    """A line that click reads is configured too."""
    from arstore.cli import clicked

    config("rot = 1")
    with pytest.raises(ConfigFileError):
        clicked.run(cli, Session(), ["images"])


def test_the_cache_is_in_the_usual_runroot(storeless, config, tmp_path):
    path = config('log-level = "error"\n')
    assert storeless("images").status == 33
    (entry,) = json.loads((tmp_path / "usual/config.json").read_bytes().partition(b"\n")[2])["entries"]
    assert entry[0] == str(path)


def test_a_command_may_do_without_the_files(config):
    config("rot = 1")
    with patch.object(cli.find("images"), "configured", False):
        assert begun().settings is None
