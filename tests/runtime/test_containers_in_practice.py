"""What the config and the options become inside a real container."""

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
    assert box.error[0] == "ImageConfigError"


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
    done = box.shell("touch /x; echo $?; touch /tmp/x; echo $?; touch /dev/shm/x; echo $?", read_only=True)
    assert done.stdout == b"1\n1\n0\n"


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
