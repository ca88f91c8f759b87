"""Commands of pages, typed as they are there: root-tars, backup, registry, sync, additional-stores."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest
from support import dockerregistry, images, markdown, registry, stores
from support.cli import Arstore
from support.programs import program
from support.registry_user import become_unconfigured
from support.typing_pages import typed


def blocks(name: str, language: str = "sh") -> list[str]:
    fences = [fence for one in markdown.sections(markdown.page(name)) for fence in one.fences]
    return [code for given, code in fences if given == language]


def indented(name: str) -> list[str]:
    """The commands that are blocks by their indentation."""
    return re.findall(r"^    (\S.*)$", markdown.page(name), re.MULTILINE)


def names(store: Arstore) -> set[str]:
    return {name for image in store.json("images") for name in image["names"]}


@pytest.fixture
def store(store_root, runroot):
    return Arstore(store_root, runroot)


@pytest.fixture
def served(tmp_path, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    with registry.served() as one:
        yield one


# --- root-tars.md -----------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("xz", "tar")
def test_root_tars(tmp_path, store):
    rootfs, _ = blocks("docs/root-tars.md")
    place = tmp_path / "place"
    (place / "ROOT" / "etc").mkdir(parents=True)
    (place / "ROOT" / "etc" / "name").write_text("mine")
    subprocess.run(["tar", "-C", place / "ROOT", "-cJf", place / "debian.tar.xz", "."], check=True)
    store.ok("import", images.write_oci_archive(tmp_path / "x.tar", stores.simple("web", names=("web:1",))))
    mounted = store.ok("mount", "--rw", "--name", "web", "web:1").text.strip()
    with open(f"{mounted}/new", "w") as file:
        file.write("x")
    typed(store, rootfs, place)
    assert {"debian:12", "mine:1"} <= names(store)
    assert store.json("inspect", "debian:12")["cmd"] == ["/bin/bash"]
    assert store.json("inspect", "mine:1")["platform"] == "linux/arm64"
    for archive, member in (("web.tar", "new"), ("debian.tar", "etc/name")):
        with tarfile.open(place / archive) as file:
            assert member in [name.removeprefix("./") for name in file.getnames()]
    store.ok("umount", "--all")


def test_indexes(tmp_path, store, served):
    _, index = blocks("docs/root-tars.md")
    for machine in ("amd64", "arm64", "riscv64"):
        picture = stores.simple(machine, names=(f"app-{machine}:1",), architecture=machine)
        store.ok("import", "--all-platforms", images.write_oci_archive(tmp_path / f"{machine}.tar", picture))
    typed(store, index.replace("registry.example.com", served.host), tmp_path / "place", insecure=True)
    _, raw = served.manifests["team/app"][served.tags["team/app"]["1"]]
    listed = [one["platform"]["architecture"] for one in json.loads(raw)["manifests"]]
    assert sorted(listed) == ["amd64", "riscv64"]


# --- backup.md --------------------------------------------------------------------------------------------------------


def test_backup_and_restore(tmp_path, store):
    lines = [line for line in indented("docs/backup.md") if line.startswith("arstore ")]
    store.ok("import", images.write_oci_archive(tmp_path / "x.tar", images.example(["app:1"])))
    backups = [line for line in lines if " backup " in line]
    (restore,) = [line for line in lines if " import " in line]
    assert (len(backups), len(lines)) == (2, 3)
    disk = str(tmp_path / "disk")
    os.mkdir(disk)
    for line in backups:
        typed(store, line.replace("/mnt/disk", disk), tmp_path / "place")
    new = Arstore(tmp_path / "new", tmp_path / "new-run")
    typed(new, restore.replace("/mnt/disk", disk), tmp_path / "place")
    assert names(new) == {"app:1"}
    assert new.json("images")[0]["digest"] == store.json("images")[0]["digest"]
    (without,) = re.findall(r"`(skopeo copy oci:/mnt/disk\S+) docker-daemon:app:1`", markdown.page("docs/backup.md"))
    if program("skopeo") is not None:
        typed(store, f"{without.replace('/mnt/disk', disk)} dir:{tmp_path}/flat", tmp_path / "place")
        assert (tmp_path / "flat/manifest.json").exists()


@pytest.mark.root
@pytest.mark.tools("rsync", "tar")
def test_copies_of_a_whole_store(tmp_path, store):
    lines = [line for line in indented("docs/backup.md") if re.match(r"(rsync|cp|tar) ", line)]
    store.ok("import", images.write_oci_archive(tmp_path / "x.tar", images.example(["app:1"])))
    store.ok("gc")
    targets = {"rsync": tmp_path / "copied", "cp": tmp_path / "disk" / "ar", "tar": tmp_path / "out"}
    (tmp_path / "disk").mkdir()
    targets["tar"].mkdir()
    sync, copy, pack, unpack = lines
    source = str(store.root)
    script = [
        sync.replace("host:/var/lib/ar", f"host:{targets['rsync']}").replace("/var/lib/ar", source),
        copy.replace("/mnt/disk", str(tmp_path / "disk")).replace("/var/lib/ar", source),
        pack.replace("/var/lib/ar", source),
        unpack.replace("/var/lib/ar", str(targets["tar"])),
    ]
    typed(store, "\n".join(script), tmp_path / "place")
    for target in targets.values():
        moved = Arstore(target, tmp_path / "moved-run")
        assert names(moved) == {"app:1"}
        assert moved.json("check")["findings"] == []


# --- registry.md, sync.md ---------------------------------------------------------------------------------------------


def test_registries(tmp_path, store, served):
    first, more = blocks("docs/registry.md")[0], "\n".join(indented("docs/registry.md")[:2])
    for tag in ("1.3", "1.4"):
        served.put_image("team/app", tag, stores.simple(tag))
    with registry.served() as other:
        code = "\n".join(line for line in f"{first}\n{more}".splitlines() if not line.startswith("arstore login"))
        code = code.replace("registry.example.com", served.host).replace("other.example.com", other.host)
        store.ok("import", images.write_oci_archive(tmp_path / "x.tar", stores.simple("x", names=("app:1",))))
        said = typed(store, code, tmp_path / "place", insecure=True)
        assert other.tags["app"] == {"1": "", "1.5": served.tags["team/app"]["1.5"]} or set(other.tags["app"]) == {
            "1.5"
        }
    assert "1.4" in said
    assert set(served.tags["team/app"]) == {"1.4", "1.5"}
    assert f"{served.host}/team/app:1.4" in names(store)


@pytest.mark.tools("docker-registry")
def test_sync(tmp_path, store, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    (code,) = blocks("docs/sync.md")
    (text,) = blocks("docs/sync.md", "yaml")
    place, usb = tmp_path / "place", tmp_path / "usb"
    place.mkdir()
    (tmp_path / "registry").mkdir()
    filler = Arstore(tmp_path / "filler", tmp_path / "filler-run")
    with dockerregistry.served(tmp_path / "registry") as source, registry.served() as mirror:
        for name in ("team/app:1.10", "team/app:1.11", "team/base:1", "team/web:v2", "team/db:15.1"):
            filler.ok("import", images.write_oci_archive(tmp_path / "x.tar", stores.simple(name, names=(name,))))
            filler.ok("push", "--tls-verify=false", name, f"docker://{source}/{name}")
        # Not in this registry: credentials and certificates.
        kept = [line for line in text.splitlines() if not re.match(r" +(credentials|cert-dir|tls-verify):", line)]
        (place / "mirror.yaml").write_text("\n".join(kept).replace("registry.example.com", source) + "\n")
        typed(store, f"arstore sync docker://{source}/team/web dir:{usb}", place, insecure=True)
        script = (
            code.replace("registry.example.com", source)
            .replace("localhost:5000", mirror.host)
            .replace("/media/usb/images", str(usb))
            .replace("/srv/images", str(tmp_path / "layout"))
            # The name of the test's registry has a port, which --scoped does not allow.
            .replace(" --scoped", "")
        )
        said = typed(store, script, place, insecure=True)
        assert set(mirror.tags["mirror/app"]) == {"1.10", "1.11"}
    planned = {line.rpartition("/")[2] for line in said.splitlines() if line.startswith("copy ")}
    assert planned == {"app:1.10", "app:1.11", "base:1", "web:v2", "db:15.1"}
    listed = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"]
    assert len(listed) == 5
    assert names(store) == {"web:v2"}


# --- additional-stores.md ---------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
@pytest.mark.tools("mkfs.erofs")
def test_additional_stores(tmp_path, store, busybox):
    use, make = blocks("docs/additional-stores.md")
    place = tmp_path / "place"
    place.mkdir()
    content = [images.directory("bin"), images.file("bin/sh", open(busybox, "rb").read(), 0o755)]  # noqa: SIM115
    picture = images.image(images.layer(content), names=["app:1"], config={"Cmd": ["/bin/sh", "-c", "echo it runs"]})
    images.write_oci_archive(place / "app.tar", picture)
    images.write_oci_archive(place / "base.tar", stores.simple("base", names=("base:1",)))
    medium = tmp_path / "medium"
    (medium / "images").mkdir(parents=True)
    (tmp_path / "srv").mkdir()
    lines = [line for line in make.splitlines() if line.startswith("arstore ")]
    typed(store, "\n".join(lines).replace("/srv", str(tmp_path / "srv")), place)
    # The page's mksquashfs, or mkfs.erofs.
    image = place / "images.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", image, tmp_path / "srv/images"], check=True, capture_output=True)
    mount = next(line for line in make.splitlines() if line.startswith("mount "))
    line = mount.replace("images.squashfs", str(image)).replace("/media", str(medium))
    subprocess.run(["sh", "-ec", line], check=True)
    try:
        said = typed(store, use.replace("/media", str(medium)), place)
        assert "app:1" in said
        assert "it runs" in said
    finally:
        store.ok("umount", "--all")
        subprocess.run(["umount", medium / "images"], check=True)
    assert not os.path.ismount(medium / "images")
    shutil.rmtree(medium)
