"""auth.json and its relatives: the file and the entry with the credential."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import RegistryConfigError
from arstore.registry.auth.credential import Credential
from arstore.registry.configuration.auth_file import (
    erase_credential,
    find_credential,
    own_auth_file,
    save_credential,
)
from arstore.registry.configuration.places import Places


def auth(user, password="p"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def places(tmp_path):
    environ = {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": f"{tmp_path}/bin"}
    return Places(environ, 1000, str(tmp_path / "etc"), str(tmp_path / "var"), str(tmp_path / "host-run"))


def write(path, document):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def helper(places, name, script):
    path = f"{places.environ['PATH']}/docker-credential-{name}"
    write(path, f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)


def user_of(found):
    return None if found is None else found.user


def test_the_files_in_their_order(places, tmp_path):
    home = f"{tmp_path}/home"
    files = [
        (f"{home}/.dockercfg", {"host": auth("five")}),
        (f"{home}/.docker/config.json", {"auths": {"host": auth("four")}}),
        (f"{home}/.config/containers/auth.json", {"auths": {"host": auth("three")}}),
        (f"{tmp_path}/run/containers/auth.json", {"auths": {"host": auth("two")}}),
    ]
    assert find_credential("host/a", places) is None
    for path, document in files:
        write(path, document)
        expected = base64.b64decode(next(iter((document.get("auths") or document).values()))["auth"]).decode()[:-2]
        assert user_of(find_credential("host/a", places)) == expected
    named = write(f"{tmp_path}/named", {"auths": {"host": auth("one")}})
    assert user_of(find_credential("host/a", places, named)) == "one"
    assert find_credential("other", places, named) is None
    places.environ["REGISTRY_AUTH_FILE"] = named
    assert user_of(find_credential("host/a", places)) == "one"
    places.environ["REGISTRY_AUTH_FILE"] = f"{tmp_path}/absent"
    assert find_credential("host/a", places) is None


def test_without_a_runtime_directory(places):
    del places.environ["XDG_RUNTIME_DIR"]
    assert own_auth_file(places) == f"{places.run}/containers/1000/auth.json"


@pytest.mark.parametrize(
    ("keys", "repository", "expected"),
    [
        ({"h": "h", "h/a": "ha", "h/a/b": "hab"}, "h/a/b/c", "hab"),
        ({"h": "h", "h/a": "ha"}, "h/ab", "h"),
        ({"h/a": "ha"}, "h/b", None),
        ({"h": "h"}, "h:5000/a", None),
        ({"h:5000": "p"}, "h:5000/a", "p"),
        ({"https://h/v1/": "x"}, "h/a", "x"),
        ({"http://h": "x"}, "h/a", "x"),
        ({"https://index.docker.io/v1/": "hub"}, "docker.io/library/x", "hub"),
        ({"docker.io": "hub"}, "docker.io/library/x", "hub"),
        ({"registry-1.docker.io": "hub"}, "docker.io/library/x", "hub"),
        ({"docker.io": "new", "https://index.docker.io/v1/": "old"}, "docker.io/library/x", "new"),
        ({"h/a:tag": "x"}, "h/a", None),
    ],
)
def test_keys(places, tmp_path, keys, repository, expected):
    file = write(f"{tmp_path}/f", {"auths": {key: auth(user) for key, user in keys.items()}})
    assert user_of(find_credential(repository, places, file)) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("u", "p:q"), Credential("u", "p:q")),
        (auth("u", "p\0\0"), Credential("u", "p")),
        (auth("u", "pä"), Credential("u", "pä")),
        ({}, None),
        ({"auth": ""}, None),
        ({"identitytoken": "t"}, Credential("", "", "t")),
        ({**auth("u", ""), "identitytoken": "t"}, Credential("u", "", "t")),
    ],
)
def test_entries(places, tmp_path, entry, expected):
    file = write(f"{tmp_path}/f", {"auths": {"h": entry}})
    assert find_credential("h/a", places, file) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"auths": []}',
        '{"auths": {"h": "x"}}',
        '{"auths": {"h": {"auth": 5}}}',
        '{"auths": {"h": {"auth": "!!!"}}}',
        '{"auths": {"h": {"auth": "c2VjcmV0"}}}',
        '{"auths": {"h": {"auth": "c2VjcmV0OnA=", "auth": "x"}}}',
    ],
)
def test_files_that_are_wrong(places, tmp_path, text):
    file = write(f"{tmp_path}/f", text)
    with pytest.raises(RegistryConfigError) as caught:
        find_credential("h/a", places, file)
    assert str(caught.value).startswith(file)
    assert "c2VjcmV0" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", '{"auths": null}', '{"auths": {}, "credHelpers": null, "other": 5}'])
def test_files_that_have_nothing(places, tmp_path, text):
    assert find_credential("h/a", places, write(f"{tmp_path}/f", text)) is None


def test_a_directory_is_no_file(places, tmp_path):
    with pytest.raises(RegistryConfigError, match="directory"):
        find_credential("h", places, str(tmp_path))


def test_an_unreadable_file_is_an_error(places, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    file = write(f"{tmp_path}/f", "{}")
    os.chmod(file, 0)
    with pytest.raises(RegistryConfigError, match="cannot be read"):
        find_credential("h", places, file)


# --- helpers --------------------------------------------------------------------------------------------------------

ANSWER = '{"ServerURL":"%s","Username":"%s","Secret":"s3cret"}'


def test_a_helper_for_one_host(places, tmp_path):
    helper(places, "mine", f"read server; echo \"$1 $server\" >> {tmp_path}/log; echo '{ANSWER % ('h', 'me')}'")
    file = write(f"{tmp_path}/f", {"credHelpers": {"h": "mine"}, "auths": {"h": auth("not"), "other": auth("other")}})
    assert find_credential("h/a", places, file) == Credential("me", "s3cret")
    assert user_of(find_credential("other/a", places, file)) == "other"
    with open(f"{tmp_path}/log") as log:
        assert log.read() == "get h\n"


def test_a_helper_that_has_nothing(places, tmp_path):
    helper(places, "mine", "echo 'credentials not found in native keychain'; exit 1")
    file = write(f"{tmp_path}/f", {"credHelpers": {"h": "mine"}})
    assert find_credential("h/a", places, file) is None


def test_the_store_comes_after_what_the_file_has(places, tmp_path):
    helper(places, "all", f"read server; echo '{ANSWER % ('x', 'stored')}'")
    file = write(f"{tmp_path}/f", {"credsStore": "all", "auths": {"h": auth("inline"), "empty": {}}})
    assert user_of(find_credential("h/a", places, file)) == "inline"
    assert user_of(find_credential("empty/a", places, file)) == "stored"
    assert user_of(find_credential("other/a", places, file)) == "stored"


def test_a_helper_knows_docker_hub_by_two_names(places, tmp_path):
    script = f"read server; case \"$server\" in https://index*) echo '{ANSWER % ('x', 'hub')}';; "
    script += "*) echo 'credentials not found in native keychain'; exit 1;; esac"
    helper(places, "all", script)
    file = write(f"{tmp_path}/f", {"credsStore": "all"})
    assert user_of(find_credential("docker.io/library/x", places, file)) == "hub"


def test_a_helper_that_gives_an_identity_token(places, tmp_path):
    helper(places, "mine", f"echo '{ANSWER % ('h', '<token>')}'")
    file = write(f"{tmp_path}/f", {"credHelpers": {"h": "mine"}})
    assert find_credential("h", places, file) == Credential("", "", "s3cret")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("absent", None),
        ("../x", None),
        ("bad", "echo s3cret; exit 0"),
        ("bad", "echo oops s3cret; exit 3"),
        ("bad", 'echo \'{"Username":5,"Secret":"s3cret"}\''),
    ],
)
def test_a_helper_that_does_not_work_is_an_error(places, tmp_path, name, script):
    if script:
        helper(places, name, script)
    file = write(f"{tmp_path}/f", {"credHelpers": {"h": name}})
    with pytest.raises(RegistryConfigError, match="docker-credential-"):
        find_credential("h", places, file)


def test_helpers_of_registries_conf(places, tmp_path):
    helper(places, "first", f"echo '{ANSWER % ('h', 'first')}'")
    file = write(f"{tmp_path}/f", {"auths": {"h": auth("file")}})
    assert user_of(find_credential("h", places, file, ("first", "containers-auth.json"))) == "first"
    assert user_of(find_credential("h", places, file, ("containers-auth.json", "first"))) == "file"


# --- writing --------------------------------------------------------------------------------------------------------


def test_saving_and_erasing(places, tmp_path):
    path = own_auth_file(places)
    for key in ("h", "h/a", "docker.io"):
        assert save_credential(key, Credential(key[-1], "p:w"), places, path) == path
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert find_credential("h/a/x", places) == Credential("a", "p:w")
    assert os.listdir(os.path.dirname(path)) == ["auth.json"]
    assert erase_credential("h/a", places, path)
    assert find_credential("h/a/x", places) == Credential("h", "p:w")
    assert not erase_credential("nobody", places, path)
    assert erase_credential("docker.io", places, path)
    assert not erase_credential("docker.io", places, f"{tmp_path}/absent")


def test_the_rest_of_a_file_is_kept(places, tmp_path):
    path = write(f"{tmp_path}/f", {"auths": {"x": auth("x")}, "psFormat": "table", "credHelpers": {"y": "z"}})
    save_credential("h", Credential("u", "p"), places, path)
    document = json.loads(Path(path).read_text())
    assert (document["psFormat"], document["credHelpers"]) == ("table", {"y": "z"})
    assert set(document["auths"]) == {"x", "h"}


def test_a_file_that_is_wrong_is_not_overwritten(places, tmp_path):
    path = write(f"{tmp_path}/f", "{oops")
    with pytest.raises(RegistryConfigError):
        save_credential("h", Credential("u", "p"), places, path)
    assert Path(path).read_text() == "{oops"


def test_a_helper_stores_and_erases(places, tmp_path):
    helper(places, "mine", f"cat >> {tmp_path}/log; echo \" $@\" >> {tmp_path}/log; echo '{ANSWER % ('h', 'u')}'")
    path = write(f"{tmp_path}/f", {"credHelpers": {"h": "mine"}})
    assert save_credential("h", Credential("u", "pw"), places, path) == "docker-credential-mine"
    assert erase_credential("h", places, path)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["store", "get", "erase"]
    assert "pw" not in lines[0].rpartition("}")[2]
    assert "pw" not in Path(path).read_text()


@given(st.one_of(st.text(max_size=100), st.recursive(st.text() | st.none() | st.integers(), st.lists).map(json.dumps)))
def test_any_file_can_be_read(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any-auth.json"
    file.write_text(text, "utf-8", "replace")
    places = Places({"PATH": "/nowhere"}, 1000)
    try:
        find_credential("h/a", places, str(file))
    except RegistryConfigError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


def test_a_file_that_was_named_has_to_be_there(places, tmp_path):
    with pytest.raises(RegistryConfigError, match="does not exist"):
        find_credential("h", places, f"{tmp_path}/absent")
