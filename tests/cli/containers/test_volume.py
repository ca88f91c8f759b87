"""Named volumes and the other mounts of `run`, with a real runtime; `volume create|ls|inspect|rm|prune`."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from cli.containers.boxes import refused, shell
from support.waiting import PATIENCE

# --- named volumes ----------------------------------------------------------------------------------------------------


def test_a_volume_outlives_its_containers(program):
    assert shell(program, "echo kept > /v/x", "-v", "v:/v") == ""
    assert shell(program, "cat /w/x", "-v", "v:/w:ro") == "kept\n"
    assert program.run("volume", "ls", "-q").text == "v\n"
    shell(program, "echo y > /w/x", "-v", "v:/w:ro", status=1)


def test_a_new_volume_starts_with_what_the_image_has_there(program):
    assert shell(program, "cat /data/file; ls /data", "-v", "v:/data") == "image\nbelow\nfile\n"
    shell(program, "rm -r /data/*", "-v", "v:/data")
    assert shell(program, "ls /data", "-v", "v:/data") == ""
    assert shell(program, "ls /way/", "-v", "w:/way") == "below\nfile\n"
    assert shell(program, "ls /data", "-v", "n:/data:nocopy") == ""


def test_a_new_volume_without_anything_in_the_image_belongs_to_the_user(program):
    assert shell(program, "stat -c %u:%g /new", "-v", "v:/new", "-u", "77:78") == "77:78\n"
    assert shell(program, "stat -c %u:%g /new", "-v", "v:/new", "-u", "99") == "77:78\n"


def test_a_symlink_of_the_image_leads_nowhere_on_the_host(program):
    shell(program, "touch /out/made", "-v", "v:/out", status=0)
    assert "made" in os.listdir(program.root / "volumes/v/data")
    assert not os.path.exists("/etc/made")


def test_volumes_of_every_kind_of_command(program):
    made = program.run("volume", "create", "--label", "a=b", "--label", "c", "one").text
    assert made == "one\n"
    assert "exists already" in refused(program, "volume", "create", "one", kind=6)
    assert program.run("volume", "create", "--ignore", "one").text == "one\n"
    random = program.run("volume", "create").text.strip()
    assert len(random) == 64
    [about] = program.run("volume", "inspect", "one", "--json").json
    assert about["Labels"] == {"a": "b", "c": ""}
    assert about["Mountpoint"] == f"{program.root}/volumes/one/data"
    for words, expected in (
        (("--filter", "name=on"), ["one"]),
        (("--filter", "label=a=b"), ["one"]),
        (("--filter", "label=a", "--filter", "label!=c"), []),
        (("--filter", "dangling=false"), []),
        (("--filter", "until=1h"), []),
        (("--filter", "since=1h", "--filter", "name=one"), ["one"]),
        (("--filter", "driver=local"), sorted(["one", random])),
    ):
        assert program.run("volume", "ls", "-q", *words).text.split() == expected, words
    refused(program, "volume", "ls", "--filter", "foo=bar", kind=2)
    refused(program, "volume", "inspect", "nope", kind=3)
    refused(program, "volume", "rm", "one", "nope", kind=3)
    assert program.run("volume", "ls", "-q").text.split() == sorted(["one", random])
    assert program.run("volume", "prune").text.split() == sorted(["one", random])
    assert program.run("volume", "prune", "--force", "--filter", "label=a").text == "one\n"
    assert program.run("volume", "rm", "--all").text.strip() == random
    assert program.run("volume", "ls", "--json").json == []


@pytest.mark.parametrize("name", ["-x", "a/b", ".x", "a b", ""])
def test_no_names_of_volumes(program, name):
    assert program.run("volume", "create", "--", name).status != 0
    assert program.run("volume", "ls", "--json").json == []


def test_a_volume_in_use_stays(program):
    program.run("run", "-d", "--name", "user", "-v", "v:/v", "box:1", "sleep", "60")
    assert "is used by container user" in refused(program, "volume", "rm", "v", kind=7)
    assert program.run("volume", "prune", "--force").text == ""
    assert program.run("volume", "rm", "--force", "v").text == "v\n"
    assert program.run("ps", "--all", "--json").json == []


def test_the_bill_has_volumes_and_gc_leaves_them(program):
    shell(program, "echo x > /v/x", "-v", "v:/v")
    bill = program.run("du", "--json").json
    assert bill["volumes"] >= 4096
    done = subprocess.run(["du", "-sB1", f"{program.root}/"], capture_output=True, check=True, text=True)
    assert bill["total"] == int(done.stdout.split()[0])
    program.run("gc")
    assert shell(program, "cat /v/x", "-v", "v:/v") == "x\n"
    assert program.run("check", "--json").status == 0


def test_two_runs_that_create_the_same_volume(program):
    words = program.words("run", "-v", "shared:/data", "box:1", "sh", "-c", "cat /data/file; ls /data | wc -l")
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=program.environment()) for _ in range(3)]
    assert [one.communicate(timeout=60)[0] for one in running] == ["image\n2\n"] * 3
    assert program.run("volume", "ls", "-q").text == "shared\n"


# --- other kinds ------------------------------------------------------------------------------------------------------


def test_a_temporary_volume_leaves_its_source_alone(program, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("old\n")
    assert shell(program, "echo new > /m/f; cat /m/f", "-v", f"{tmp_path}/d:/m:O") == "new\n"
    assert (tmp_path / "d/f").read_text() == "old\n"
    assert "O needs a directory" in refused(program, "run", "-v", f"{tmp_path}/d/f:/m:O", "box:1", "true")


def test_an_image_is_mounted(program):
    assert (
        shell(program, "cat /m/data/file; touch /m/x", "--mount", "type=image,src=box:1,dst=/m", status=1) == "image\n"
    )
    assert shell(program, "touch /m/x; ls /m/x", "--mount", "type=image,src=box:1,dst=/m,rw") == "/m/x\n"
    assert shell(program, "cat /m/file", "--mount", "type=image,src=box:1,dst=/m,subpath=data") == "image\n"
    refused(program, "run", "--mount", "type=image,src=nope:1,dst=/m", "box:1", "true")


def test_a_mounted_image_cannot_be_removed(program):
    program.run("tag", "box:1", "other:1")
    program.run("run", "-d", "--name", "user", "--mount", "type=image,src=other:1,dst=/m", "box:1", "sleep", "60")
    program.run("untag", "other:1")
    program.run("untag", "box:1")
    program.run("gc")
    assert program.run("exec", "user", "cat", "/m/data/file").text == "image\n"


def test_volumes_of_another_container(program, tmp_path):
    (tmp_path / "d").mkdir()
    words = ("-v", "v:/v", "-v", f"{tmp_path}/d:/d:ro", "-v", "/anon", "--tmpfs", "/t")
    program.run(
        "run", "-d", "--name", "lender", *words, "box:1", "sh", "-c", "echo 1 > /v/f; echo 2 > /anon/f; sleep 60"
    )
    deadline = time.monotonic() + PATIENCE
    while program.run("exec", "lender", "cat", "/anon/f").text != "2\n" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shell(program, "cat /v/f /anon/f; ls /t", "--volumes-from", "lender", status=1) == "1\n2\n"
    shell(program, "touch /v/x", "--volumes-from", "lender:ro", status=1)
    shell(program, "touch /d/x", "--volumes-from", "lender", status=1)
    program.run("run", "-d", "--name", "borrower", "--volumes-from", "lender", "box:1", "sleep", "60")
    refused(program, "container", "rm", "--force", "lender", kind=7)
    assert program.run("container", "rm", "--force", "borrower").status == 0
    assert program.run("container", "rm", "--force", "lender").status == 0
    refused(program, "run", "--volumes-from", "lender", "box:1", "true")


def test_a_part_of_a_volume_cannot_leave_it(program):
    shell(program, "mkdir /v/d; touch /v/d/f; ln -s / /v/root; ln -s ../../../../.. /v/up", "-v", "v:/v")
    mount = "type=volume,src=v,dst=/m,subpath="
    assert shell(program, "ls /m", "--mount", f"{mount}d") == "f\n"
    assert shell(program, "ls /m", "--mount", f"{mount}d/f") == "/m\n"
    for name in ("root", "up"):
        assert shell(program, "ls /m", "--mount", mount + name) == "d\nroot\nup\n"
    refused(program, "run", "--mount", f"{mount}none", "box:1", "true")
    refused(program, "run", "--mount", f"{mount}root/etc", "box:1", "true")


def test_a_volume_is_given_to_the_user(program, tmp_path):
    outside = tmp_path / "outside"
    outside.touch()
    inside = tmp_path / "d"
    (inside / "below").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (inside / "below/f").touch()
    found = shell(program, "find /m | while read p; do stat -c %u:%g $p; done", "-v", f"{inside}:/m:U", "-u", "55:56")
    assert set(found.split()) == {"55:56"}
    assert outside.stat().st_uid == 0
    assert os.lstat(inside / "link").st_uid == 55


@pytest.mark.parametrize(
    "words",
    [
        ("-v", "a:/x", "-v", "b:/x"),
        ("-v", "a:/x", "--tmpfs", "/x"),
        ("--mount", "type=tmpfs,dst=/x", "-v", "/x"),
        ("-v", "/nonexistent:/x"),
        ("-v", "a:/x:rshared"),
        ("--mount", "type=bind,src=/tmp,dst=/x,foo"),
        ("--volumes-from", "nobody"),
        ("--volumes-from", "nobody:exec"),
    ],
)
def test_bad_mounts(program, words):
    refused(program, "run", *words, "box:1", "true")
    assert program.run("volume", "ls", "-q").text in {"", "a\n"}
