#!/usr/bin/env python3
"""Make a pipeline image: a container image whose command builds two further images, from scratch, while it runs.

    tools/pipeline_image.py pipeline.tar.gz
    arstore load -i pipeline.tar.gz

The image holds busybox and a shell script; without busybox, it holds the host's shell, tar, gzip and sha256sum with
their libraries. The script makes layers with tar and gzip, computes every digest and diff ID in the container, writes
config, manifest and index, and leaves two images in $ARSTORE_IMAGES: `greeter.tar`, an OCI archive named greeter:1,
and `counter/`, an OCI layout directory named counter:1. Their digests are the same in every run. The options below are
defaults: `arstore load --env PIPELINE_EXIT=3 ...` sets the same for one run.

Only the standard library is used, and nothing of arstore. Not in scope: compressions other than gzip.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EPOCH = 1_700_000_000
PROGRAMS = """cat cp cut gzip head ln ls mkdir mkfifo mktemp mv rm sh sha256sum sleep tar touch tr uname wc"""
"""Programs that the script calls."""
APPLETS = f"""{PROGRAMS} [ basename chmod date dirname echo env false find grep hostname id mount printf ps sed sort
stat tail test true"""
"""Applets that busybox gets links for: the same, and useful ones for a user of the container."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

SCRIPT = r"""#!/bin/sh
# Builds greeter.tar and counter/ in $ARSTORE_IMAGES.
set -eu
: "${ARSTORE_IMAGES:?is not set: this image is for arstore load}"
work=$(mktemp -d)
cd "$work"
arch=$(uname -m)
case $arch in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; armv7*) arch=arm ;; i?86) arch=386 ;; esac

digest() { sha256sum <"$1" | cut -d ' ' -f 1; }
size() { wc -c <"$1" | tr -d ' '; }
created=2023-11-14T22:13:20Z

# blob LAYOUT FILE MEDIATYPE: moves FILE among the blobs and prints its descriptor without the closing brace
blob() {
    set -- "$1" "$2" "$3" "$(digest "$2")" "$(size "$2")"
    mv "$2" "$1/blobs/sha256/$4"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s' "$3" "$4" "$5"
}

# build LAYOUT NAME TEXT COMMAND: one image of two layers, this container's own programs and a file with TEXT
build() {
    mkdir -p "$1/blobs/sha256" own
    printf '%s\n' "$3" >own/greeting
    touch -d @1700000000 own/greeting
    tar -cf own.tar -C own greeting
    set -f
    # shellcheck disable=SC2046
    tar --no-recursion -cf base.tar -C / $(cat /base.list)
    set +f
    base_diff=$(digest base.tar) own_diff=$(digest own.tar)
    touch -d @1700000000 base.tar
    gzip -c <base.tar >base.tar.gz
    layer=application/vnd.oci.image.layer.v1.tar
    base="$(blob "$1" base.tar.gz $layer+gzip)}" own="$(blob "$1" own.tar $layer)}"
    cat >config <<END
{"created":"$created","architecture":"$arch","os":"linux",
"config":{"Env":["PATH=/bin:/usr/bin"],"Cmd":["/bin/sh","-c","$4"]},
"rootfs":{"type":"layers","diff_ids":["sha256:$base_diff","sha256:$own_diff"]},
"history":[{"created":"$created","created_by":"programs"},{"created":"$created","created_by":"greeting"}]}
END
    config="$(blob "$1" config application/vnd.oci.image.config.v1+json)}"
    manifest=application/vnd.oci.image.manifest.v1+json
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s,%s]}' \
        $manifest "$config" "$base" "$own" >manifest
    printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
        "$(blob "$1" manifest $manifest)" "$2" >"$1/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
    rm -rf own base.tar
}

sleep "${PIPELINE_SLEEP:-0}"
build greeter greeter:1 "Hello from an image that a container built." "cat /greeting"
build counter counter:1 "1 2 3" "for n in \$(cat /greeting); do echo \$n; done"
tar -cf greeter.tar -C greeter oci-layout index.json blobs
rm -rf "$ARSTORE_IMAGES/greeter.tar" "$ARSTORE_IMAGES/counter"
cp greeter.tar "$ARSTORE_IMAGES/greeter.tar.part"
mv "$ARSTORE_IMAGES/greeter.tar.part" "$ARSTORE_IMAGES/greeter.tar"
cp -R counter "$ARSTORE_IMAGES/counter"
echo "built greeter:1 and counter:1"

case " ${PIPELINE_LEAVE:-} " in *" junk "*)
    echo "not an image" >"$ARSTORE_IMAGES/notes.txt"
    head -c 3000 greeter.tar >"$ARSTORE_IMAGES/cut.tar" ;;
esac
case " ${PIPELINE_LEAVE:-} " in *" symlinks "*)
    ln -sf /etc/passwd "$ARSTORE_IMAGES/file-link.tar"
    ln -sfn / "$ARSTORE_IMAGES/directory-link"
    ln -sf greeter.tar "$ARSTORE_IMAGES/inner-link.tar" ;;
esac
case " ${PIPELINE_LEAVE:-} " in *" special "*)
    rm -f "$ARSTORE_IMAGES/pipe"
    mkfifo "$ARSTORE_IMAGES/pipe" ;;
esac
case " ${PIPELINE_LEAVE:-} " in *" names "*)
    cp greeter.tar "$ARSTORE_IMAGES/two
lines.tar" ;;
esac
case " ${PIPELINE_LEAVE:-} " in *" nothing "*) rm -rf "$ARSTORE_IMAGES/greeter.tar" "$ARSTORE_IMAGES/counter" ;; esac
cd /
rm -rf "$work"
exit "${PIPELINE_EXIT:-0}"
"""


class UnavailableError(Exception):
    """The machine lacks programs that the image is made from."""


class RootFileSystem:
    """The only layer, as members in order."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def directory(self, name: str, mode: int = 0o755) -> None:
        """Add a directory and its parents, each once."""
        if name in self._members or not name:
            return
        self.directory(name.rpartition("/")[0])
        self._add(name, tarfile.DIRTYPE, mode)

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a regular file, once."""
        if name in self._members:
            return
        self.directory(name.rpartition("/")[0])
        self._add(name, tarfile.REGTYPE, mode, content)

    def symlink(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, tarfile.SYMTYPE, 0o777, link=target)

    def _add(self, name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(content), link, EPOCH
        self._members[name] = (info, content)

    def names(self) -> str:
        """The members so far, one a line."""
        return "".join(f"{name}\n" for name in self._members)

    def tar(self) -> bytes:
        """The layer's archive."""
        return archive(self._members.values())


def static_busybox(path: str | None) -> bytes | None:
    """The content of a statically linked busybox, from *path* or PATH; None without one.

    A dynamically linked one names its loader in its first page (ELF PT_INTERP), as `/lib…/ld-…`.
    """
    found = path or shutil.which("busybox") or shutil.which("busybox", path="/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        return None
    content = Path(found).read_bytes()
    return None if b"/ld-" in content[:4096] else content


def add_busybox(root: RootFileSystem, content: bytes) -> None:
    """Put busybox into bin/, with a link for each applet."""
    root.file("bin/busybox", content, 0o755)
    for name in APPLETS.split():
        root.symlink(f"bin/{name}", "busybox")


def add_host_programs(root: RootFileSystem) -> None:
    """Put the host's programs and their libraries at the places that the loader searches.

    Raises UnavailableError if one is missing.
    """
    libraries: set[str] = set()
    for name in PROGRAMS.split():
        path = shutil.which(name)
        if path is None:
            raise UnavailableError(f"neither busybox nor {name} is installed (Debian: apt-get install busybox-static)")
        root.file(f"bin/{name}", Path(path).read_bytes(), 0o755)
        libraries.update(_libraries(path))
    for path in sorted(libraries):
        root.file(os.path.normpath(path).lstrip("/"), Path(path).read_bytes(), 0o755)


def _libraries(path: str) -> list[str]:
    done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    words = [word for line in done.stdout.splitlines() for word in line.split() if word.startswith("/")]
    return [word for word in words if os.path.isfile(word)]


def root_file_system(busybox: str | None) -> bytes:
    """The layer: programs, the script, and the directories that a container needs."""
    root = RootFileSystem()
    content = static_busybox(busybox)
    if content is not None:
        add_busybox(root, content)
    else:
        add_host_programs(root)
    base = root.names()
    for name in ("dev", "etc", "proc", "sys", "root"):
        root.directory(name)
    root.directory("tmp", 0o1777)
    root.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    root.file("etc/group", b"root:x:0:\n")
    root.file("base.list", base.encode())
    root.file("build.sh", SCRIPT.encode(), 0o755)
    return root.tar()


def digest(data: bytes) -> str:
    """`sha256:` and the digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(document: object) -> bytes:
    """Compact JSON."""
    return json.dumps(document, separators=(",", ":")).encode()


def image_files(layer_tar: bytes, environment: list[str], name: str | None) -> dict[str, bytes]:
    """The files of an OCI layout with one image of one layer (image-spec image-layout.md)."""
    layer = gzip.compress(layer_tar, 6, mtime=0)
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    process = {
        "Env": ["PATH=/bin:/usr/bin", *environment],
        "Entrypoint": ["/bin/sh", "/build.sh"],
        "Labels": {"arstore.pipeline": "true"},
    }
    config = dump(
        {
            "created": "2023-11-14T22:13:20Z",
            "architecture": architecture,
            "os": "linux",
            "config": process,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer_tar)]},
            "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "tools/pipeline_image.py"}],
        }
    )
    kind = "application/vnd.oci.image"
    descriptors = [
        {"mediaType": f"{kind}.config.v1+json", "digest": digest(config), "size": len(config)},
        {"mediaType": f"{kind}.layer.v1.tar+gzip", "digest": digest(layer), "size": len(layer)},
    ]
    manifest = dump(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": descriptors[0],
            "layers": descriptors[1:],
        }
    )
    entry: dict[str, object] = {
        "mediaType": f"{kind}.manifest.v1+json",
        "digest": digest(manifest),
        "size": len(manifest),
        "platform": {"os": "linux", "architecture": architecture},
    }
    if name:
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    blobs = {"blobs/" + digest(data).replace(":", "/"): data for data in (layer, config, manifest)}
    index = dump({"schemaVersion": 2, "manifests": [entry]})
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """The members as one tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def outer(files: dict[str, bytes]) -> bytes:
    """The OCI archive with *files*."""
    root = RootFileSystem()
    for name, content in files.items():
        root.file(name, content)
    return root.tar()


def arguments() -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(description="Make a pipeline image, which builds two images while it runs.")
    parser.add_argument("output", type=Path, help="the OCI archive to write; gzipped if the name ends in gz")
    parser.add_argument("--name", help="the image's name (default: none, so that it is named after the file)")
    parser.add_argument("--busybox", metavar="PATH", help="the static busybox to use (default: from PATH)")
    parser.add_argument("--exit-code", type=int, default=0, help="the status that the container ends with")
    parser.add_argument("--sleep", type=int, default=0, metavar="S", help="seconds to wait before building")
    parser.add_argument(
        "--leave",
        action="append",
        default=[],
        choices=["junk", "symlinks", "special", "names", "nothing"],
        help="also leave files that are not images: a text file and a cut archive; links, also out of the directory; a "
        "FIFO; a name with a newline; or leave nothing at all",
    )
    return parser.parse_args()


def main() -> int:
    """The command line."""
    options = arguments()
    environment = {
        "PIPELINE_EXIT": str(options.exit_code),
        "PIPELINE_SLEEP": str(options.sleep),
        "PIPELINE_LEAVE": " ".join(options.leave),
    }
    try:
        layer = root_file_system(options.busybox)
        settings = [f"{key}={value}" for key, value in environment.items() if value not in {"", "0"}]
        data = outer(image_files(layer, settings, options.name))
        if options.output.suffix in {".gz", ".tgz"}:
            data = gzip.compress(data, 1, mtime=0)
        options.output.write_bytes(data)
    except (OSError, UnavailableError) as error:
        print(f"pipeline_image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
