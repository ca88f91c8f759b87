"""Layers that try to reach files outside: paths, links, hard links, whiteouts, metadata, and attacks on tarfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support import tarblocks
from support.images import device, directory, fifo, file, hardlink, opaque, symlink, whiteout
from support.scrambling import CAPABILITY

from hostile.case import Case, Row, bad, good, layer_cases, stack, up

if TYPE_CHECKING:
    from collections.abc import Iterator

X = b"x"


def raw(*parts: bytes) -> bytes:
    """A layer from blocks."""
    return b"".join(parts) + tarblocks.END


PATHS: dict[str, Row] = {
    "a parent": bad(lambda out: [file("../escaped", X)], "UnsafePath"),
    "many parents": bad(lambda out: [file(up(out) + "/precious", X)], "UnsafePath"),
    "parents after a component": bad(lambda out: [directory("a"), file("a/../../escaped", X)], "UnsafePath"),
    "a parent within the tree": good(lambda out: [file("a/../b", X)], {"b": X}),
    "an absolute name": good(lambda out: [file(out + "/precious", X)], {"{out}/precious": X}),
    "slashes without end": good(lambda out: [file("//a///b//", X)], {"a/b": X}),
    "a dot as the name of a file": bad(lambda out: [file(".", X)], "UnsafePath", "Tar"),
    "two dots as the name": bad(lambda out: [directory("..")], "UnsafePath"),
    "an empty name": bad(lambda out: raw(tarblocks.member(b"", X)), "Tar"),
    "a NUL in a PAX path": bad(lambda out: raw(tarblocks.pax((b"path", b"a\0b")), tarblocks.member(b"f", X)), "Tar"),
    "a parent in a PAX path": bad(
        lambda out: raw(tarblocks.pax((b"path", b"../../escaped")), tarblocks.member(b"f", X)), "UnsafePath"
    ),
    "a parent in a GNU long name": bad(
        lambda out: raw(tarblocks.gnu_long(b"a/" + b"../" * 60 + b"escaped"), tarblocks.member(b"f", X)), "UnsafePath"
    ),
    "a parent in the ustar prefix": bad(
        lambda out: raw(tarblocks.member(b"escaped", X, prefix=b"../.."[:155])), "UnsafePath"
    ),
    "a component of 256 bytes": bad(lambda out: [file("n" * 256, X)], "Tar"),
    "a path over PATH_MAX": bad(lambda out: [file("/".join(["d" * 200] * 21), X)], "Limit"),
    "names of any bytes": good(
        lambda out: [
            file(b"new\nline", X),
            file(b"\xff\xfe", X),
            file(b"-rf", X),
            file(b"a\\..\\b", X),
            file("\x1b[31m", X),
        ],
        {"new\nline": X, "-rf": X, "a\\..\\b": X, "\x1b[31m": X},
    ),
    "the tree's own file names": good(
        lambda out: [file("layer.tar", X), file("layer.erofs", X), file("needs.json", X), file("listing", X)],
        {"layer.tar": X, "layer.erofs": X, "needs.json": X, "listing": X},
    ),
}

LINKS: dict[str, Row] = {
    "an absolute symlink": good(lambda out: [symlink("l", out)], {"l": ("link", "{out}")}),
    "a file through an absolute symlink": good(
        lambda out: [symlink("l", out), file("l/precious", X)], {"l": ("link", "{out}"), "{out}/precious": X}
    ),
    "a file through a symlink up": good(
        lambda out: [symlink("l", up(out)), file("l/escaped", X)], {"{out}/escaped": X}
    ),
    "a file in the place of a symlink": good(
        lambda out: [symlink("l", out + "/precious"), file("l", X)], {"l": X, "{out}/precious": None}
    ),
    "a chain of symlinks": good(
        lambda out: [symlink("a", "b"), symlink("b", "c/.."), symlink("c", "../../../.."), file(f"a{out}/precious", X)],
        {"{out}/precious": X},
    ),
    "a symlink of a lower layer": stack(
        lambda out: [[symlink("l", out)], [file("l/precious", X)]],
        inside={"l": ("link", "{out}"), "{out}/precious": X},
    ),
    "a symlink of a lower layer, and a directory": stack(
        lambda out: [[symlink("l", out)], [directory("l"), file("l/precious", X)]], inside={"l/precious": X}
    ),
    "a whiteout through a symlink of a lower layer": stack(
        lambda out: [[symlink("l", out)], [file("l/.wh.precious")]], inside={}
    ),
    "the root as a symlink": bad(lambda out: [symlink(".", out), file("precious", X)], "UnsafePath", "Tar"),
    "the root as a symlink in a second layer": stack(
        lambda out: [[file("f", X)], [symlink("./", out), file("precious", X)]], "UnsafePath", "Tar"
    ),
    "a symlink to itself": bad(lambda out: [symlink("l", "l"), file("l/f", X)], "UnsafePath"),
    "symlinks in a circle": bad(lambda out: [symlink("a", "b"), symlink("b", "a"), file("a/f", X)], "UnsafePath"),
    "a maze of symlinks": bad(
        lambda out: [*(symlink(f"m{n}", f"m{n + 1}/m{n + 1}") for n in range(60)), file("m0/f", X)],
        "UnsafePath",
        "Limit",
    ),
    "a symlink to the kernel's": good(
        lambda out: [symlink("l", "/proc/self/root"), file(f"l{out}/precious", X)],
        {"l": ("link", "/proc/self/root"), "proc/self/root{out}/precious": X},
    ),
    "a symlink with a NUL": bad(
        lambda out: raw(tarblocks.pax((b"linkpath", b"a\0b")), tarblocks.member(b"l", letter=b"2")), "Tar", "UnsafePath"
    ),
    "an empty symlink": bad(lambda out: raw(tarblocks.member(b"l", letter=b"2")), "Tar"),
    "a symlink over PATH_MAX": bad(lambda out: [symlink("l", "t" * 5000)], "Tar", "Limit"),
    "a symlink, a directory, a symlink again": good(
        lambda out: [symlink("d", out), directory("d"), file("d/escaped", X), symlink("d", out), file("d/precious", X)],
        {"d": ("link", "{out}"), "{out}/precious": X},
    ),
}

HARD_LINKS: dict[str, Row] = {
    "to a path outside": bad(lambda out: [hardlink("h", up(out) + "/precious")], "UnsafePath"),
    "to an absolute path": bad(lambda out: [hardlink("h", out + "/precious")], "Tar", "UnsafePath"),
    "to a symlink that points outside": good(
        lambda out: [symlink("s", out + "/precious"), hardlink("h", "s")], {"h": ("link", "{out}/precious")}
    ),
    "to a symlink, then written to": good(
        lambda out: [symlink("s", out + "/precious"), hardlink("h", "s"), file("h", X)],
        {"h": X, "s": ("link", "{out}/precious")},
    ),
    "through a symlink that points outside": bad(
        lambda out: [symlink("s", out), hardlink("h", "s/precious")], "Tar", "UnsafePath"
    ),
    "to something later": bad(lambda out: [hardlink("h", "later"), file("later", X)], "Tar"),
    "to itself": good(lambda out: [hardlink("h", "h")], {"h": None}),
    "to a directory": bad(lambda out: [directory("d"), hardlink("h", "d")], "Tar"),
    "to the root": bad(lambda out: [hardlink("h", ".")], "Tar", "UnsafePath"),
    "a mode through one": good(lambda out: [file("f", X, 0o600), hardlink("h", "f", 0o4777)], {"f": X, "h": X}),
    "to a lower layer's symlink": stack(
        lambda out: [[symlink("s", out + "/precious")], [hardlink("h", "s", 0o4777)]],
        inside={"s": ("link", "{out}/precious"), "h": ("link", "{out}/precious")},
    ),
    "through a lower layer's symlink": stack(
        lambda out: [[symlink("s", out)], [hardlink("h", "s/precious", 0o4777)]], "Tar", "UnsafePath"
    ),
    "in a circle": bad(lambda out: [hardlink("a", "b"), hardlink("b", "a")], "Tar"),
    "with content of its own": good(
        lambda out: raw(tarblocks.member(b"f", X), tarblocks.header(b"h", b"1", 0, link=b"f")), {"h": X}
    ),
}

WHITEOUTS: dict[str, Row] = {
    "without a name": bad(lambda out: [file(".wh.")], "UnsafePath"),
    "of a dot": bad(lambda out: [file(".wh..")], "UnsafePath"),
    "of the parent": bad(lambda out: [directory("a"), file("a/.wh...")], "UnsafePath"),
    "of the parent of the root": bad(lambda out: [file(".wh...")], "UnsafePath"),
    "as a directory with a parent": bad(lambda out: [file(".wh../escaped", X)], "UnsafePath"),
    "in a symlinked parent": good(
        lambda out: [symlink("l", out), file("l/.wh.precious")], {"l": ("link", "{out}"), "{out}/precious": None}
    ),
    "opaque, through a symlink": good(
        lambda out: [symlink("l", out), file("l/.wh..wh..opq"), file("l/escaped", X)], {"{out}/escaped": X}
    ),
    "opaque, on a file": good(lambda out: [file("f", X), opaque("f")], {"f": X}),
    "opaque, on the root": stack(
        lambda out: [[file("old", X)], [opaque(""), file("new", X)]], inside={"old": None, "new": X}
    ),
    "of aufs' own": good(
        lambda out: [directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", X), file("f", X)],
        {".wh..wh.plnk": None, "f": X},
    ),
    "that is a symlink outside": stack(
        lambda out: [[file("f", X)], [symlink(".wh.f", out + "/precious")]], inside={"f": None, ".wh.f": None}
    ),
    "that is a hard link outside": stack(
        lambda out: [[file("f", X)], [hardlink(".wh.f", up(out) + "/precious")]], "UnsafePath"
    ),
    "that is a directory with members": stack(
        lambda out: [[file("f", X)], [directory(".wh.f"), file(".wh.f/in", X)]], inside={".wh.f/in": X}
    ),
    "as overlayfs has it": stack(lambda out: [[file("f", X)], [device("f", "c", 0, 0)]], inside={"f": None}),
    "of a directory that is then filled": stack(
        lambda out: [[directory("d"), file("d/old", X)], [whiteout("d"), file("d/new", X)]],
        inside={"d/old": None, "d/new": X},
    ),
}

_ORDERS = {
    "trusted.overlay.opaque": b"y",
    "trusted.overlay.redirect": b"/etc",
    "trusted.overlay.metacopy": b"",
    "user.overlay.redirect": b"/etc",
    "trusted.overlay.overlay.opaque": b"y",
}

METADATA: dict[str, Row] = {
    "device nodes": good(
        lambda out: [device("mem", "c", 1, 1, 0o666), device("disk", "b", 8, 0, 0o666)],
        {"mem": "character", "disk": "block"},
    ),
    "a FIFO": good(lambda out: [fifo("p")], {"p": "fifo"}),
    "setuid for everybody": good(lambda out: [file("su", X, 0o6777)], {"su": X}),
    "a root that is open to all": good(lambda out: [directory("./", 0o7777), file("f", X)], {"f": X}),
    "a root that is closed to all": good(lambda out: [directory("./", 0), file("f", X)], {"f": X}),
    "orders to overlayfs": stack(
        lambda out: [
            [directory("d"), file("d/f", X)],
            [directory("d", xattrs=_ORDERS), file("g", X, xattrs=_ORDERS)],
        ],
        inside={"d/f": X, "g": X},
    ),
    "security attributes": good(
        lambda out: [file("f", X, 0o755, xattrs={"security.capability": CAPABILITY, "security.selinux": b"evil"})],
        {"f": X},
    ),
    "an attribute of 64 KiB and a byte": good(lambda out: [file("f", X, xattrs={"user.big": b"v" * 65537})], {"f": X}),
    "a name of an attribute that is too long": good(
        lambda out: [file("f", X, xattrs={"user." + "n" * 300: b"v"})], {"f": X}
    ),
    "attributes that no file can have": good(
        lambda out: [
            file("f", X, xattrs={"system.nfs4_acl": b"x", "security.capability": b"x", "com.apple.x": b""}),
            symlink("l", "f", xattrs={"user.a": b"x", "system.posix_acl_access": b"x"}),
        ],
        {"f": X},
    ),
    "a hundred thousand attributes": bad(
        lambda out: [file("f", X, xattrs={f"user.{n}": b"" for n in range(100_000)})], "Limit"
    ),
    "ten thousand attributes, of which few can be listed": good(
        lambda out: [file("f", X, xattrs={f"user.{n:050}": b"" for n in range(10_000)})], {"f": X}
    ),
    "a MiB of attributes": bad(
        lambda out: [file("f", X, xattrs={f"user.n{n}": b"v" * 60_000 for n in range(20)})], "Tar", "Limit"
    ),
    "an owner over 32 bits": bad(lambda out: [file("f", X, pax_headers={"uid": str(2**32)})], "Tar"),
    "an owner that means nobody": good(lambda out: [file("f", X, pax_headers={"uid": str(2**32 - 1)})], {"f": X}),
    "an owner below zero": good(lambda out: [file("f", X, pax_headers={"gid": "-1"})], {"f": X}),
    "an owner below what 32 bits can say": bad(
        lambda out: [file("f", X, pax_headers={"gid": str(-(2**31) - 1)})], "Tar"
    ),
    "a time that no clock shows": bad(lambda out: [file("f", X, pax_headers={"mtime": "9" * 30})], "Tar"),
    "a size below zero": bad(lambda out: raw(tarblocks.header(b"f", b"0", tarblocks.base256(-512))), "Tar"),
    "a size of 2^63": bad(
        lambda out: raw(tarblocks.pax((b"size", str(2**63).encode())), tarblocks.member(b"f", X)),
        "Tar",
        "Truncated",
        "Limit",
    ),
    "a device number that no kernel has": bad(lambda out: [device("d", "c", 0o7777777, 0o7777777)], "Tar"),
}


def _pax_realpath(out: str) -> list[Any]:
    """CVE-2025-4517: a path that exceeds PATH_MAX when it is resolved, so that realpath gives up half way."""
    long = "d" * 200
    members, path = [], ""
    for letter in "abcdefghijklmnop":
        members.append(directory(path + long))
        members.append(symlink(path + letter, long))
        path += letter + "/"
    members.append(symlink(path + "l" * 200, "../" * 16))
    members.append(symlink("escape", path + "l" * 200 + "/" + up(out)))
    return [*members, hardlink("flaglink", "escape/precious"), file("flaglink", X)]


PYTHON: dict[str, Row] = {
    "a path past PATH_MAX for realpath": bad(_pax_realpath, "Tar", "UnsafePath", "Limit"),
    "a symlink that changes its meaning (4330)": good(
        lambda out: [directory("a"), symlink("a/l", "../" * 1), symlink("b", "a/l/../.." + out), file("b/precious", X)],
        {"{out}/precious": X},
    ),
    "a mode through a link (12718)": good(
        lambda out: [symlink("l", out + "/precious", mode=0o4777), directory("l/x/..", 0o777)],
        {"l": "directory"},
    ),
    "a hard link to a symlink outside (4138)": good(
        lambda out: [directory("d"), symlink("d/s", ".." + out), hardlink("e", "d/s"), file("e/escaped", X)],
        {"e": ("link", "..{out}"), "{out}/escaped": X},
    ),
}

TABLES = {
    "paths": PATHS,
    "links": LINKS,
    "hard links": HARD_LINKS,
    "whiteouts": WHITEOUTS,
    "metadata": METADATA,
    "tarfile": PYTHON,
}


def cases() -> Iterator[Case]:
    """All of this module."""
    for group, rows in TABLES.items():
        yield from layer_cases(group, rows)
