"""--decryption-key, --encryption-key and --encrypt-layer: the commands that have them, their output and statuses."""

from __future__ import annotations

import json
import os

import pytest
from support import encryption as made
from support import images
from support.encryption import ec_key, rsa_key

PLAIN = images.example(names=["box:1"])


@pytest.fixture
def key(tmp_path):
    return made.write(tmp_path, "rsa", rsa_key())


@pytest.fixture
def locked(tmp_path):
    return images.write_oci_archive(tmp_path / "locked.tar", made.picture(PLAIN, rsa_key(), ec_key()))


def said(result):
    return [line for line in result.err.splitlines() if line.startswith("arstore: ")]


def test_import(arstore, locked, key):
    result = arstore.ok("import", "--progress", "none", "--decryption-key", key[0], locked)
    digest, name = result.text.split()
    assert name == "box:1"
    (line,) = said(result)
    assert line.endswith(f"was decrypted; without encryption it is {digest}")
    layers = arstore.ok("import", "--json", "--decryption-key", key[0], locked).json["images"][0]["layers"]
    assert [layer["digest"] for layer in layers] == [layer.digest for layer in PLAIN.layers]
    assert all(layer["reused"] for layer in layers)
    assert arstore.ok("check").status == 0


@pytest.mark.parametrize("command", [("import",), ("copy",)])
def test_without_a_key(arstore, locked, command):
    result = arstore(*command, locked, *(["store:"] if command == ("copy",) else []))
    assert result.status == 59
    (line,) = said(result)
    assert "3 of its 3 layers are encrypted, for 2 keys of jwe (RSA-OAEP, ECDH-ES+A256KW)" in line
    assert line.endswith("`arstore copy` can copy it encrypted to places other than a store")
    assert arstore.ok("images").text.count("\n") <= 1


def test_copy_into_the_store(arstore, locked, key):
    digest = arstore.ok("copy", "--decryption-key", key[0], locked, "store:mine:2").text.split()[0]
    assert arstore.ok("images", "--json").json[0]["digest"] == digest


def test_copy_tells_what_was_moved_unopened(arstore, locked, tmp_path, key):
    result = arstore.ok("copy", "--progress", "none", locked, f"oci:{tmp_path}/out")
    assert said(result) == [f"arstore: {tmp_path}/out: 3 encrypted layers were copied without decryption"]
    document = arstore.ok("copy", "--json", locked, f"oci-archive:{tmp_path}/out.tar").json
    assert document["encrypted"] == 3
    result = arstore.ok("copy", "--json", "--decryption-key", key[0], locked, f"oci-archive:{tmp_path}/plain.tar")
    assert result.json["encrypted"] == 0


def test_save_encrypts_and_import_opens(filled, tmp_path, key):
    out = tmp_path / "out.tar"
    result = filled.ok("save", "--encryption-key", f"jwe:{key[1]}", "--encrypt-layer", "-1", "-o", out, "example:1")
    assert result.text.split()[1] == "example:1"
    assert filled("import", out).status == 59
    layers = filled.ok("import", "--json", "--decryption-key", key[0], out).json["images"][0]["layers"]
    assert [layer["digest"] for layer in layers] == [layer.digest for layer in images.example().layers]


def test_an_encrypted_archive_on_stdout(filled, tmp_path, key):
    result = filled.ok("save", "--encryption-key", f"jwe:{key[1]}", "example:1")
    (tmp_path / "out.tar").write_bytes(result.out)
    assert filled.ok("import", "--decryption-key", key[0], tmp_path / "out.tar").text


def test_a_passphrase_in_a_file_and_none_in_messages(arstore, locked, tmp_path):
    protected, word = tmp_path / "protected.pem", tmp_path / "word"
    protected.write_bytes(made.private_pem(rsa_key(), b"geheim"))
    word.write_text("geheim\n")
    arstore.ok("import", "--decryption-key", f"{protected}:file={word}", locked)
    assert arstore("import", "--decryption-key", protected, locked).status == 57
    for wrong in ("geheim", "pass=geheim"):
        result = arstore("import", "--decryption-key", f"{protected}:{wrong}", locked)
        assert result.status == 2
        assert "geheim" not in result.err


@pytest.mark.parametrize("name", ["fifo", "directory", "empty", "none", "zero"])
def test_key_files_that_are_none(arstore, locked, tmp_path, name):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for words in (
        ("import", "--decryption-key", tmp_path / name, locked),
        ("copy", "--encryption-key", f"jwe:{tmp_path / name}", locked, f"oci:{tmp_path}/out"),
    ):
        result = arstore(*words)
        assert result.status == 57
        (line,) = said(result)
        assert str(tmp_path / name) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheme", ["pgp", "pkcs7", "pkcs11", "provider"])
def test_other_schemes(arstore, locked, tmp_path, scheme):
    result = arstore("copy", "--encryption-key", f"{scheme}:x", locked, f"oci:{tmp_path}/out")
    assert result.status == 2
    assert f"{scheme} is not supported; arstore supports only JWE" in result.err
    assert arstore("import", "--decryption-key", f"{scheme}:x", locked).status == 2


def test_options_that_say_nothing_together(filled, locked, tmp_path, key):
    place = f"oci:{tmp_path}/out"
    for words, why in (
        (("copy", "--encrypt-layer", "0", locked, place), "needs --encryption-key"),
        (("save", "--encrypt-layer", "0", "example:1", "-o", tmp_path / "o"), "needs --encryption-key"),
        (("copy", "--decryption-key", key[0], "store:example:1", place), "nothing is encrypted"),
        (("import", "--rootfs", locked, "x:1", "--decryption-key", key[0]), "not encrypted"),
        (
            ("copy", "--encryption-key", f"jwe:{key[1]}", "--encrypt-layer", "7", locked, place),
            "there is no layer with this number",
        ),
        (("import", *["--decryption-key", key[0]] * 65, locked), "at most 64 times are allowed"),
    ):
        result = filled(*words)
        assert result.status == 2, result.err
        assert why in result.err
    assert not (tmp_path / "out").exists()


def test_a_store_keeps_images_as_they_come(arstore, tmp_path, key):
    source = images.write_oci_archive(tmp_path / "plain.tar", PLAIN)
    result = arstore("copy", "--encryption-key", f"jwe:{key[1]}", source, "store:")
    assert result.status == 29
    assert "no conversion is possible" in result.err


def test_the_error_as_json(arstore, locked, tmp_path):
    other, _ = made.write(tmp_path, "other", rsa_key(1))
    error = arstore("import", "--json", "--decryption-key", other, locked).error
    assert error["kind"] == "Decryption"
    assert json.dumps(error).count("the key does not decrypt it") >= 1
