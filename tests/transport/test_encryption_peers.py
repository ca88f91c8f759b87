"""skopeo and arstore decrypt images that the other has encrypted; podman decrypts those of arstore."""

from __future__ import annotations

import json
import subprocess

import pytest
from support import copies, encryption, images, peers
from support.encryption import ec_key, rsa_key

from arstore.errors import DecryptionError
from arstore.transport.decryption.keys import DecryptionKeys
from arstore.transport.export.copying import export_reference
from arstore.transport.export.encryption import Encryption
from arstore.transport.export.options import ExportOptions
from arstore.transport.selection.selector import Wanted
from arstore.trust.encryption.key_file import KeyWord
from arstore.trust.encryption.recipients import Recipients

PLAIN = images.example(["box:1"])
KEYS = {"rsa": rsa_key(), **{curve: ec_key(curve) for curve in encryption.CURVES}}
GROUPS = [("rsa",), ("P-256",), ("P-384",), ("P-521",), ("rsa", "P-256"), tuple(KEYS)]

pytestmark = pytest.mark.tools("skopeo")


@pytest.fixture
def files(tmp_path):
    place = tmp_path / "keys"
    place.mkdir()
    return {name: encryption.write(place, name, key) for name, key in KEYS.items()}


def copy(source, target, *private, options=None):
    keys = DecryptionKeys(tuple(KeyWord(str(path)) for path in private), lambda _line: None) if private else None
    with target.destination() as place:
        return export_reference(str(source), place, Wanted(), options or ExportOptions(), keys=keys)


@pytest.mark.parametrize("names", GROUPS, ids="+".join)
@pytest.mark.parametrize("layers", [(), (0, -1)])
def test_what_skopeo_encrypts_is_opened(tmp_path, files, names, layers):
    layout = images.write_layout(tmp_path / "plain", PLAIN)
    words = [f"--encryption-key=jwe:{files[name][1]}" for name in names]
    words += [f"--encrypt-layer={number}" for number in layers]
    peers.skopeo_copy(f"oci:{layout}:box:1", f"oci:{tmp_path}/locked:1", *words)
    for name in names:
        target = copies.target("oci", tmp_path, f"plain-{name}")
        copy(f"oci:{tmp_path}/locked", target, files[name][0])
        assert copies.read(target.reference).one.diff_ids == PLAIN.diff_ids
    other = next((name for name in KEYS if name not in names), "")
    if other:
        with pytest.raises(DecryptionError, match="does not decrypt it"):
            copy(f"oci:{tmp_path}/locked", copies.target("oci", tmp_path, "none"), files[other][0])


@pytest.mark.parametrize("names", GROUPS, ids="+".join)
@pytest.mark.parametrize("indexes", [(), (0, -1)])
def test_skopeo_opens_what_is_encrypted(tmp_path, files, names, indexes):
    layout = images.write_layout(tmp_path / "plain", PLAIN)
    recipients = Recipients.named([f"jwe:{files[name][1]}" for name in names])
    target = copies.target("oci", tmp_path, "locked")
    copy(layout, target, options=ExportOptions(encryption=Encryption(recipients, indexes)))
    for name in names:
        peers.skopeo_copy(f"oci:{tmp_path}/locked:box:1", f"oci:{tmp_path}/plain-{name}:1", "--decryption-key",
            str(files[name][0]))  # fmt: skip
        read = copies.read(f"oci:{tmp_path}/plain-{name}").one
        assert read.diff_ids == PLAIN.diff_ids
        assert [digest for digest, _, _ in read.layers] == [layer.digest for layer in PLAIN.layers]
    other = next((name for name in KEYS if name not in names), "")
    if other:
        with pytest.raises(peers.PeerError):
            peers.skopeo_copy(f"oci:{tmp_path}/locked:box:1", f"dir:{tmp_path}/none", "--decryption-key",
                str(files[other][0]))  # fmt: skip


def test_what_skopeo_moves_unopened_is_opened_here(tmp_path, files):
    """And the other way round: a chain of copies, of which only the last one has a key."""
    layout = images.write_layout(tmp_path / "plain", PLAIN)
    peers.skopeo_copy(f"oci:{layout}:box:1", f"dir:{tmp_path}/one", f"--encryption-key=jwe:{files['P-256'][1]}")
    copy(f"dir:{tmp_path}/one", copies.target("oci-archive", tmp_path, "two.tar"))
    peers.skopeo_copy(f"oci-archive:{tmp_path}/two.tar", f"oci:{tmp_path}/three:1")
    copy(f"oci:{tmp_path}/three", copies.target("dir", tmp_path, "four"), files["P-256"][0])
    assert copies.read(f"dir:{tmp_path}/four").one.diff_ids == PLAIN.diff_ids


@pytest.mark.root
@pytest.mark.tools("podman")
def test_podman_opens_what_is_encrypted(tmp_path, files):
    layout = images.write_layout(tmp_path / "plain", PLAIN)
    recipients = Recipients.named([f"jwe:{files[name][1]}" for name in ("rsa", "P-384")])
    copy(layout, copies.target("oci", tmp_path, "locked"), options=ExportOptions(encryption=Encryption(recipients)))
    podman = ["podman", "--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver=vfs"]
    words = [*podman, "pull", "-q", f"--decryption-key={files['P-384'][0]}", f"oci:{tmp_path}/locked"]
    digest = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    seen = subprocess.run([*podman, "inspect", digest], capture_output=True, text=True, check=True).stdout
    assert json.loads(seen)[0]["RootFS"]["Layers"] == PLAIN.diff_ids
