"""Effects of the config and of options inside a real container."""

import os

import pytest

pytestmark = pytest.mark.root


def lines(done) -> list[str]:
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def test_process_of_the_image(box):
    config = {
        "user": "alice",
        "env": ["A=1", "B=x=y z", "PATH=/bin"],
        "entrypoint": ["sh", "-c"],
        "working_dir": "/made/for it",
        "cmd": ["id -u; id -g; id -G; pwd; echo $A $B $HOME $HOSTNAME; hostname"],
    }
    found = lines(box.run(config=config, env=["A=2"], hostname="tester"))
    assert found == ["1000", "1001", "1001 50 60", "/made/for it", "2 x=y z /home/alice tester", "tester"]


def test_newlines_and_blanks_in_the_environment_arrive_exactly(box):
    value = "one\ntwo = three\tüñí 'q' \"d\" \\"
    done = box.run("sh", "-c", 'printf %s "$V"', env=[f"V={value}"])
    assert done.stdout == value.encode()


def test_user_of_the_options_wins_and_groups_are_dropped_with_an_explicit_group(box):
    assert lines(box.shell("id -u; id -g; id -G", config={"user": "alice"}, user="0:60")) == ["0", "60", "60"]
    assert lines(box.shell("id -u; id -g", user="2000000000")) == ["2000000000", "0"]


@pytest.mark.parametrize("make", ["symlink", "fifo", "huge", "directory"])
def test_hostile_passwd_neither_blocks_nor_leaks(box, make):
    passwd = box.rootfs / "etc/passwd"
    passwd.unlink()
    if make == "symlink":
        passwd.symlink_to("../../../../../../../../etc/passwd")
    elif make == "fifo":
        os.mkfifo(passwd)
    elif make == "directory":
        passwd.mkdir()
    else:
        with open(passwd, "wb") as file:
            file.truncate(1 << 30)
    done = box.run("true", config={"user": "daemon"})
    assert done.returncode == 125
    assert box.error[0] == ("IdentityError" if make == "symlink" else "ImageConfigError")


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_an_account_file_that_would_hold_the_runtime_is_refused(box, name):
    # runc opens both, whatever the user, and would wait for a writer of the FIFO.
    place, aside = box.rootfs / "etc" / name, box.rootfs / "etc/aside"
    why = ("ImageConfigError", f"/etc/{name}: is not a regular file in the container's root file system")
    place.rename(aside)
    os.mkfifo(place)
    assert box.run("true", user="2000").returncode == 125
    assert box.error == why
    aside.rename(place)
    box.run("sleep", "60", mode="start")
    box.until("running")
    place.unlink()
    os.mkfifo(place)
    for user in (None, "2000"):
        assert box.run("true", mode="exec", user=user).returncode == 125
        assert box.error == why


def test_fifos_in_the_place_of_other_files_block_nobody(box):
    for path in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "etc/localtime", "run/.containerenv"):
        place = box.rootfs / path
        place.parent.mkdir(exist_ok=True)
        os.mkfifo(place)
    assert lines(box.shell("echo ran")) == ["ran"]
    assert box.run("/etc/localtime").returncode == 125
    assert box.error == ("CommandNotExecutableError", "/etc/localtime: is not an executable file")


@pytest.mark.parametrize("place", ["/proc/self/fd/7", "/link/x", "/sys/fs"])
def test_working_directory_in_the_kernels_file_systems_is_refused(box, place):
    (box.rootfs / "link").symlink_to("/proc/self/fd/8")
    assert box.run("pwd", config={"working_dir": place}).returncode == 125
    assert box.error[0] == "ImageConfigError"


def test_volumes(box, tmp_path):
    (tmp_path / "in put").mkdir()
    (tmp_path / "in put/file").write_text("inner")
    (tmp_path / "out").mkdir()
    script = "cat /in/file; echo written > /deep/er/out/x; touch /in/y; echo $?"
    done = box.shell(
        script, volumes=[[str(tmp_path / "in put"), "/in", True], [str(tmp_path / "out"), "/deep/er/out", False]]
    )
    assert done.stdout == b"inner1\n"
    assert (tmp_path / "out/x").read_text() == "written\n"
    assert not (tmp_path / "in put/y").exists()


def test_volumes_of_the_image_begin_as_copies_and_stay_with_the_container(box):
    data = box.rootfs / "data"
    data.mkdir(mode=0o750)
    (data / "file").write_text("from the image")
    os.chown(data, 1000, 1001)
    (data / "link").symlink_to("file")
    os.link(data / "file", data / "hard")
    config = {"volumes": ["/data", "/new"]}
    script = "stat -c %a:%u:%g /data; cat /data/link; echo more >> /data/hard; echo; cat /data/file; touch /new/x"
    done = box.shell(script, config=config)
    assert lines(done) == ["750:1000:1001", "from the image", "from the imagemore"]
    assert (data / "file").read_text() == "from the image"
    assert lines(box.shell("cat /data/file; ls /new", config=config)) == ["from the imagemore", "x"]


def test_users_volume_replaces_the_images(box, tmp_path):
    (tmp_path / "mine").mkdir()
    box.shell("echo x > /data/x", config={"volumes": ["/data"]}, volumes=[[str(tmp_path / "mine"), "/data", False]])
    assert (tmp_path / "mine/x").exists()
    assert not (box.directory / "volumes").exists()


def test_read_only(box):
    script = "for place in / /bin /tmp /run /var/tmp /dev /dev/shm; do touch $place/x 2>/dev/null; echo $?; done"
    (box.rootfs / "tmp/kept").touch()
    for name in ("run", "var/tmp"):
        (box.rootfs / name).mkdir(parents=True)
    assert box.shell(f"{script}; ls /tmp", read_only=True).stdout.split() == [*b"1 1 0 0 0 0 0 kept x".split()]
    done = box.shell(script, read_only=True, read_only_tmpfs=False)
    assert done.stdout.split() == [b"1"] * 7
    assert os.listdir(box.rootfs / "tmp") == ["kept"]


def test_limits(box):
    script = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}"
    assert box.shell(script).stdout == b"60000000\n"
    assert b"60000000" not in box.shell(script, memory=16 << 20).stdout
    forks = "i=0; while [ $i -lt 40 ]; do sleep 2 & i=$((i+1)); done 2>/dev/null; ps | grep -c 'sleep 2'"
    done = box.shell(forks, pids_limit=12)
    assert not done.stdout.strip().isdigit() or int(done.stdout) < 14


def test_private_surroundings(box):
    script = "ps | wc -l; cat /etc/hostname; grep -c localhost /etc/hosts; ls /sys/class/net"
    found = lines(box.shell(script, hostname="h"))
    assert int(found[0]) <= 5
    assert found[1] == "h"
    assert "lo" in found[3:]
    assert "eth0" not in found[3:]


def test_links_in_etc_are_followed_inside_only(box, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (box.rootfs / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    (box.rootfs / "etc/hosts").symlink_to(f"../../../../../../../../{outside}")
    (box.rootfs / "etc/hostname").mkdir()
    assert lines(box.shell("cat /etc/hosts | head -n 1")) == ["127.0.0.1\tlocalhost"]
    assert outside.read_text() == "untouched"


def test_seccomp_and_capabilities(box):
    if not box.seccomp:
        pytest.skip("no seccomp here")
    script = "grep -E 'Seccomp:|CapBnd' /proc/self/status; unshare -m true || mount -t tmpfs x /tmp || echo no"
    done = box.shell(script)
    found = done.stdout.decode().split()
    assert int(found[1], 16) & ~0xA80425FB == 0
    assert found[3:] == ["2", "no"]
    assert b"not permitted" in done.stderr


def test_kernel_files_are_masked(box):
    script = (
        "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness; echo $?"
    )
    done = box.shell(script)
    assert done.stdout == b"0\n0\n1\n"


@pytest.mark.parametrize("mode", ["run", "exec"])
def test_a_file_closed_to_the_primary_group_stays_closed(box, mode):
    """Mode 0604 keeps a group out; a process that could drop its primary group would be let in as one of the others."""
    (box.rootfs / "closed").write_text("secret")
    os.chown(box.rootfs / "closed", 0, 1001)
    (box.rootfs / "closed").chmod(0o604)
    if mode == "exec":
        box.run("sleep", "60", mode="start")
        box.until("running")
    for user in ("alice", "1000", "alice:", "1000:1001", "4444:1001", "alice:alice"):
        done = box.shell("id -G; cat /closed", mode=mode, user=user)
        assert "1001" in done.stdout.decode().split()
        assert b"secret" not in done.stdout
    groups = lines(box.shell("grep Groups: /proc/self/status", mode=mode, user="0:60"))
    assert groups == ["Groups:\t60 "]


def test_added_groups(box):
    assert lines(box.shell("id -G", user="alice", groups=["77", "wheel", "staff"])) == ["1001 50 60 77"]
    assert box.run("true", groups=["nosuch"]).returncode == 125
    assert box.error[0] == "IdentityError"


def test_users_are_looked_up_in_what_the_container_sees(box, tmp_path):
    (tmp_path / "passwd").write_text("me:x:4242:4343::/home/me:/bin/sh\n")
    (tmp_path / "group").write_text("grp:x:77:me\n")
    volumes = [[str(tmp_path / "passwd"), "/etc/passwd", True], [str(tmp_path / "group"), "/etc/group", True]]
    script = "id -u; id -G; echo $HOME; sleep 60"
    assert lines(box.shell("id -u; id -G; echo $HOME", user="me", volumes=volumes)) == ["4242", "4343 77", "/home/me"]
    assert box.run("true", user="alice", volumes=volumes).returncode == 125
    box.shell(script, mode="start", user="me", volumes=volumes)
    box.until("running")
    assert lines(box.shell("id -u; id -G; echo $HOME", mode="exec", user="me")) == ["4242", "4343 77", "/home/me"]
    assert box.run("true", mode="exec", user="alice").returncode == 125


def test_users_of_a_volume_over_the_whole_of_etc_through_a_link(box, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/passwd").symlink_to("/elsewhere/passwd")
    (box.rootfs / "elsewhere").mkdir()
    (box.rootfs / "elsewhere/passwd").write_text("me:x:4242:4343::/home/me:/bin/sh\n")
    assert lines(box.shell("id -u", user="me", volumes=[[str(tmp_path / "conf"), "/etc", True]])) == ["4242"]


def test_home_of_an_unknown_user_is_the_working_directory(box):
    config = {"working_dir": "/not/yet"}
    assert lines(box.shell("echo $HOME", config=config, user="4444")) == ["/not/yet"]
    # Each user gets an entry, which stays in the container.
    assert lines(box.shell("echo $HOME", user="4445")) == ["/"]
    assert lines(box.shell("echo $HOME", config={"env": ["HOME=/x"]}, user="4446")) == ["/x"]


@pytest.mark.parametrize("given", [True, False])
def test_exec_as_another_user_keeps_a_home_that_was_given(box, given):
    box.run("sleep", "60", mode="start", env=["HOME=/given"] if given else [])
    box.until("running")
    home = "/given" if given else "/home/alice"
    assert lines(box.shell("echo $HOME", mode="exec", user="alice")) == [home]
    assert lines(box.shell("echo $HOME", mode="exec")) == ["/given" if given else "/root"]
    assert lines(box.shell("echo $HOME", mode="exec", user="alice", env=["HOME=/now"])) == ["/now"]


def test_a_missing_workdir_of_the_image_belongs_to_the_user(box):
    (box.rootfs / "link").symlink_to("tmp")
    for place in ("/not/yet", "/link/below"):
        found = lines(box.shell("stat -c %u:%g:%a . ..; pwd", config={"working_dir": place, "user": "alice"}))
        assert found[0] == "1000:1001:755"
        assert found[1].startswith("0:0:")
        assert found[2] == place.replace("link", "tmp")
    there = box.rootfs / "there"
    there.mkdir(mode=0o700)
    assert lines(box.shell("stat -c %u:%a /there", config={"working_dir": "/there"})) == ["0:700"]
    assert box.run("true", config={"working_dir": "/etc/passwd"}).returncode == 125
    assert box.error[0] == "IdentityError"


@pytest.mark.parametrize("mode", ["run", "exec"])
@pytest.mark.parametrize("place", ["rel", "/not/there", "/etc/passwd"])
def test_a_workdir_that_the_user_names_must_exist(box, mode, place):
    if mode == "exec":
        box.run("sleep", "60", mode="start")
        box.until("running")
    assert box.run("pwd", mode=mode, workdir=place).returncode == 125
    assert box.error[0] == "IdentityError"
    assert lines(box.run("pwd", mode=mode, workdir="etc")) == ["/etc"]
