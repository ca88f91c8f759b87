"""`--mount`: keys, aliases, types, and what is refused."""

import pytest

from arstore.errors import NotFoundError, UsageError
from arstore.runtime.spec.mounts.filesystems import Tmpfs
from arstore.runtime.spec.mounts.mount_option import Mounted, parse_mount
from arstore.runtime.spec.mounts.volume import Volume


def volume(*fields, **named):
    return Mounted((Volume(*fields, **named),))


@pytest.mark.parametrize(
    "text",
    [
        "type=bind,src=/tmp,dst=/x,ro",
        "type=bind,source=/tmp,destination=/x,readonly",
        "type=bind,source=/tmp,target=/x,readonly=true",
        "target=/x,ro=1,type=bind,src=/tmp",
        "type=bind,src=/tmp,dst=/x,rw=false",
        "type=bind,src=/tmp,dst=/x,ro,relabel=shared,consistency=cached",
    ],
)
def test_aliases(text):
    assert parse_mount(text) == volume("/tmp", "/x", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,dst=/tmp", volume("/tmp", "/tmp")),
        (
            "type=bind,src=/tmp,dst=/x,bind-propagation=rslave,bind-nonrecursive,U",
            volume("/tmp", "/x", options=("rslave", "bind"), chown=True),
        ),
        ("src=v,dst=/x", volume("", "/x", kind="volume", name="v")),
        ("dst=/x", volume("", "/x", kind="volume")),
        (
            "type=volume,src=v,dst=/x,volume-nocopy,subpath=/a/b/,volume-driver=local",
            volume("", "/x", kind="volume", name="v", copies=False, subpath="a/b"),
        ),
        ("type=image,src=base:1,dst=/x", volume("", "/x", True, kind="image", name="base:1")),
        ("type=image,src=b,dst=/x,rw", volume("", "/x", kind="image", name="b", temporary=True)),
        ("type=tmpfs,dst=/x", Mounted((), (Tmpfs("/x", ("rw", "nosuid", "nodev", "tmpcopyup")),))),
        (
            "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770,notmpcopyup,ro",
            Mounted((), (Tmpfs("/x", ("nosuid", "nodev", "ro", "size=1048576", "mode=1770")),)),
        ),
        ("type=ramfs,dst=/x", Mounted((), (Tmpfs("/x", (), "ramfs"),))),
        (
            "type=devpts,dst=/x,uid=5,gid=6,mode=600,max=4",
            Mounted((), (Tmpfs("/x", ("mode=600", "uid=5", "gid=6", "max=4"), "devpts"),)),
        ),
    ],
)
def test_types(text, expected):
    assert parse_mount(text) == expected


def test_quotes_keep_commas(tmp_path):
    (tmp_path / "a,b").mkdir()
    assert parse_mount(f'type=bind,"src={tmp_path}/a,b",dst=/x') == volume(f"{tmp_path}/a,b", "/x")


def test_a_pattern_gives_a_volume_for_each_match(tmp_path):
    for name in ("a1", "a2", "b"):
        (tmp_path / name).touch()
    found = parse_mount(f"type=glob,src={tmp_path}/a*,dst=/x,ro")
    assert found.volumes == (Volume(f"{tmp_path}/a1", "/x/a1", True), Volume(f"{tmp_path}/a2", "/x/a2", True))
    with pytest.raises(NotFoundError):
        parse_mount(f"type=glob,src={tmp_path}/c*,dst=/x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs a place"),
        ("=x,dst=/x", "not a mount"),
        ("type=nope,dst=/x", "not a type of mount"),
        ("type=artifact,src=a,dst=/x", "not a type of mount"),
        ("type=bind,src=/tmp", "needs a place"),
        ("type=bind,src=/tmp,dst=x", "must be an absolute path"),
        ("type=bind,src=/tmp,dst=/", "over the container's root"),
        ("type=bind,src=/tmp,dst=/x,foo=bar", "not a key of bind mounts"),
        ("type=bind,src=/tmp,dst=/x,ro,ro", "given twice"),
        ("type=bind,src=/tmp,dst=/x,ro,readonly", "given twice"),
        ("type=bind,src=/tmp,dst=/x,ro,rw", "exclude each other"),
        ("type=bind,src=/tmp,dst=/x,ro=maybe", "neither true nor false"),
        ("type=bind,src=/tmp,dst=/x,bind-propagation=rshared", "must not appear on the host"),
        ("type=bind,src=/tmp,dst=/x,bind-propagation=x", "not an option"),
        ("type=bind,src=/tmp,dst=/x,relabel=x", "not a kind of relabel"),
        ("type=bind,src=/tmp,dst=/x,idmap=uids=0-0-1", "no user namespace"),
        ("type=bind,src=,dst=/x", "needs a value"),
        ("type=tmpfs,dst=/x,src=/y", "has no source"),
        ("type=tmpfs,dst=/x,size=lots", "not a size"),
        ("type=image,dst=/x", "needs the image"),
        ("type=volume,src=v,dst=/x,driver=nfs", "no such driver"),
        ("type=volume,src=/a,dst=/x", "not a volume"),
        ("type=volume,src=v,dst=/x,subpath=a/../../b", r"cannot contain \.\."),
        ('type=bind,"src=/tmp,dst=/x', "not a mount"),
        ("type=bind,src=/t\0mp,dst=/x", "not a mount"),
    ],
)
def test_what_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        parse_mount(text)
