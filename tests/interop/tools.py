"""The tools, and how each of them writes and reads.

A tool that cannot do something says why: a text that becomes a note below the table. The place of an image is a path,
or HOST:PORT/NAME:TAG in a registry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from interop.reading import DIR, DOCKER_ARCHIVE, LAYOUT, OCI_ARCHIVE, REGISTRIES, Seen, seen

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
TRANSPORTS = {LAYOUT: "oci", OCI_ARCHIVE: "oci-archive", DOCKER_ARCHIVE: "docker-archive", DIR: "dir"}
NO_TLS = "--tls-verify=false"
ONE_PLATFORM = "a docker-archive holds images of one platform"


class Cannot(Exception):  # noqa: N818 - not an error
    """The tool has no way to do this; the text says why."""


class FailedError(Exception):
    """The tool ended with a status other than 0; the text is the end of its output."""


def reference(kind: str, place: Path | str) -> str:
    """The reference for skopeo, podman, buildah and arstore."""
    return f"docker://{place}" if kind in REGISTRIES else f"{TRANSPORTS[kind]}:{place}"


class Sample(NamedTuple):
    """An image to copy, in a layout: of one platform, or an index of several."""

    layout: Path
    name: str
    several: bool
    seen: Seen
    mine: Seen
    """The image as a tool sees it that takes this host's platform alone."""


class Runner:
    """Runs programs: in the root directory *peers* (see tools/peers), or on this host."""

    def __init__(self, work: Path, peers: str = "") -> None:
        self.work = work
        self._peers = peers

    def has(self, name: str) -> bool:
        """Whether the program exists."""
        if not self._peers:
            return shutil.which(name) is not None
        return any(os.path.exists(f"{self._peers}/{place}/{name}") for place in ("usr/bin", "usr/sbin", "bin"))

    def command(self, *words: str | Path, ours: bool = False) -> list[str]:
        """The command line that runs a program, with `environment`."""
        prefix = [str(REPOSITORY / "tools/peers"), "run", self._peers] if self._peers and not ours else []
        return [*prefix, *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program."""
        return {**os.environ, "PEERS_BIND": str(self.work), "TMPDIR": str(self.work)}

    def run(self, *words: str | Path, ours: bool = False, **variables: str) -> str:
        """Run a program and return its stdout. Raises FailedError."""
        environment = {**self.environment, **variables}
        command = self.command(*words, ours=ours)
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=300, check=False
        )
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
            raise FailedError(lines[-1].replace(str(self.work), "WORK"))
        return done.stdout


class Tool:
    """One tool; places are new paths below the runner's directory."""

    name = ""
    programs: tuple[str, ...] = ()
    rewrites = ""
    """Why it writes other manifests than it has read; "" if it writes the same."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def version(self) -> str:
        """The line with its version."""
        return self._runner.run(self.programs[0], "--version").splitlines()[0]

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        """Write *sample* to *place*; *scratch* is a new directory. Raises Cannot, FailedError."""
        raise NotImplementedError

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        """The image at *place*; *scratch* is a new directory. Raises Cannot, FailedError."""
        raise NotImplementedError


class Skopeo(Tool):
    """`skopeo copy`."""

    name = "skopeo"
    programs = ("skopeo",)

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        if kind == DOCKER_ARCHIVE and sample.several:
            raise Cannot(ONE_PLATFORM)
        behind = "" if kind == DIR or kind in REGISTRIES else f":{sample.name}"
        source = f"oci:{sample.layout}:{sample.name}"
        self._copy(source, f"{reference(kind, place)}{behind}", "--dest-tls-verify=false", several=sample.several)

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        self._copy(reference(kind, place), f"dir:{scratch}/dir", "--src-tls-verify=false", several=several)
        return seen(DIR, scratch / "dir")

    def _copy(self, source: str, target: str, *words: str, several: bool) -> None:
        every = ["--all"] if several else []
        self._runner.run("skopeo", "--insecure-policy", "copy", "--quiet", *every, *words, source, target)


class Podman(Tool):
    """`podman pull` and `podman save`, with a new storage for each step."""

    name = "podman"
    programs = ("podman",)
    rewrites = "podman keeps layers as files, and compresses them again when it writes"
    _FORMATS: ClassVar = {
        LAYOUT: "oci-dir",
        OCI_ARCHIVE: "oci-archive",
        DOCKER_ARCHIVE: "docker-archive",
        DIR: "docker-dir",
    }

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        target = reference(kind, place)
        if sample.several:
            if kind == DOCKER_ARCHIVE:
                raise Cannot(ONE_PLATFORM)
            self._podman(scratch, "manifest", "create", sample.name)
            self._podman(scratch, "manifest", "add", "--all", sample.name, f"oci:{sample.layout}:{sample.name}")
            self._podman(scratch, "manifest", "push", "--all", NO_TLS, sample.name, target)
            return
        image = self._podman(scratch, "pull", "--quiet", f"oci:{sample.layout}:{sample.name}").split()[-1]
        self._podman(scratch, "tag", image, sample.name)
        if kind in REGISTRIES:
            self._podman(scratch, "push", "--quiet", NO_TLS, sample.name, target)
        else:
            self._podman(scratch, "save", "--quiet", "--format", self._FORMATS[kind], "-o", place, sample.name)

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        image = self._podman(scratch, "pull", "--quiet", NO_TLS, reference(kind, place)).split()[-1]
        (document,) = json.loads(self._podman(scratch, "image", "inspect", image))
        return Seen(document["Digest"], frozenset([f"sha256:{document['Id']}"]))

    def _podman(self, storage: Path, *words: str | Path) -> str:
        places = ("--root", storage / "root", "--runroot", storage / "run", "--storage-driver", "vfs")
        return self._runner.run("podman", *places, *words, PODMAN_IGNORE_CGROUPSV1_WARNING="1")


class Buildah(Tool):
    """`buildah pull` and `buildah push`, with a new storage for each step."""

    name = "buildah"
    programs = ("buildah",)
    rewrites = "buildah keeps layers as files, and compresses them again when it writes"

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        if sample.several and kind == DOCKER_ARCHIVE:
            raise Cannot(ONE_PLATFORM)
        source, target = f"oci:{sample.layout}:{sample.name}", reference(kind, place)
        if sample.several:
            self._buildah(scratch, "manifest", "create", sample.name)
            self._buildah(scratch, "manifest", "add", "--all", sample.name, source)
            self._buildah(scratch, "manifest", "push", "--all", NO_TLS, sample.name, target)
        else:
            image = self._buildah(scratch, "pull", "--quiet", source).split()[-1]
            behind = "" if kind == DIR or kind in REGISTRIES else f":{sample.name}"
            self._buildah(scratch, "push", "--quiet", NO_TLS, image, f"{target}{behind}")

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        image = self._buildah(scratch, "pull", "--quiet", NO_TLS, reference(kind, place)).split()[-1]
        document = json.loads(self._buildah(scratch, "inspect", "--type", "image", image))
        return Seen(document["FromImageDigest"], frozenset([f"sha256:{document['FromImageID']}"]))

    def _buildah(self, storage: Path, *words: str | Path) -> str:
        places = ("--root", storage / "root", "--runroot", storage / "run", "--storage-driver", "vfs")
        return self._runner.run("buildah", *places, *words)


class Umoci(Tool):
    """umoci, which reads and writes layouts in place."""

    name = "umoci"
    programs = ("umoci",)
    _ONLY = "umoci works on layouts alone"
    _NO_INDEX = "umoci does not choose from an index of several platforms"

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        """Tag the image in a copy of its layout: umoci writes only `index.json` of images that it did not build."""
        if kind != LAYOUT:
            raise Cannot(self._ONLY)
        if sample.several:
            raise Cannot(self._NO_INDEX)
        shutil.copytree(sample.layout, Path(place))
        self._runner.run("umoci", "tag", "--image", f"{place}:{sample.name}", "umoci")
        self._runner.run("umoci", "remove", "--image", f"{place}:{sample.name}")

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        if kind != LAYOUT:
            raise Cannot(self._ONLY)
        if several:
            raise Cannot(self._NO_INDEX)
        (reference,) = self._runner.run("umoci", "ls", "--layout", place).split()
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        self._runner.run("umoci", "unpack", *rootless, "--image", f"{place}:{reference}", scratch / "bundle")
        document = json.loads((scratch / "bundle/umoci.json").read_text())
        return Seen(document["from_descriptor_path"]["descriptor_walk"][-1]["digest"])


_CTR = """
set -e
place=$1 && shift
mkdir -p "$place/root" "$place/state"
cat >"$place/config.toml" <<END
version = 3
root = "$place/root"
state = "$place/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "$place/sock"
[ttrpc]
address = "$place/ttrpc"
END
containerd --config "$place/config.toml" >"$place/log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
tries=0
until ctr --address "$place/sock" version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { tail -n 1 "$place/log" >&2; exit 1; }
    sleep 0.1
done
ctr() { command ctr --address "$place/sock" "$@"; }
"""
_PUSH = """
ctr images import --all-platforms --no-unpack "$1" >/dev/null
ctr images tag "$3" "$2" >/dev/null
ctr images push --plain-http --local "$2" >/dev/null
"""
_TELL = """
digest=$(ctr images ls | awk 'NR > 1 {print $3}' | sort -u)
echo "$digest"
for one in $digest; do ctr content get "$one"; echo; done
"""
_FETCH = 'ctr content fetch --plain-http --all-platforms "$1" >/dev/null\n' + _TELL
_EXPORT = 'ctr images import --all-platforms --no-unpack "$1" >/dev/null\nctr images export $4 "$2" "$3"\n'
_IMPORT = 'ctr images import --all-platforms --no-unpack --digests "$1" >/dev/null\n' + _TELL


class Ctr(Tool):
    """containerd's `ctr images import`, `export` and `push`, `ctr content fetch`; a daemon for each step."""

    name = "ctr"
    programs = ("ctr", "containerd")
    _ONLY = "containerd reads archives and registries alone"

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        if kind != OCI_ARCHIVE and kind not in REGISTRIES:
            raise Cannot("containerd writes OCI archives, which are docker-archives as well, and to registries")
        source = scratch / "source"
        self._runner.run("tar", "-C", sample.layout, "-cf", source, ".", ours=True)
        words = ("sh", scratch / "daemon", source, place, sample.name)
        if kind in REGISTRIES:
            self._runner.run("sh", "-c", _CTR + _PUSH, *words)
        else:
            self._runner.run("sh", "-c", _CTR + _EXPORT, *words, "--all-platforms" if sample.several else "")

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        if kind not in {OCI_ARCHIVE, DOCKER_ARCHIVE, *REGISTRIES}:
            raise Cannot(self._ONLY)
        script = _FETCH if kind in REGISTRIES else _IMPORT
        said = self._runner.run("sh", "-c", _CTR + script, "sh", scratch / "daemon", place)
        digest, _, documents = said.partition("\n")
        document = json.loads(documents)
        return Seen(digest, frozenset() if several else frozenset([document["config"]["digest"]]))


class Arstore(Tool):
    """arstore: through a store."""

    name = "arstore"

    def version(self) -> str:
        return self._run("--version").strip()

    def write(self, sample: Sample, kind: str, place: Path | str, scratch: Path) -> None:
        if kind == DOCKER_ARCHIVE and sample.several:
            raise Cannot(ONE_PLATFORM)
        every = ["--all-platforms"] if sample.several else []
        self._on(scratch, "import", *every, f"oci:{sample.layout}")
        if kind in REGISTRIES:
            self._on(scratch, "push", *every, NO_TLS, sample.name, reference(kind, place))
            return
        form = "oci" if kind == LAYOUT else kind
        self._on(scratch, "save", *every, "--format", form, "-o", place, sample.name)

    def read(self, kind: str, place: Path | str, name: str, several: bool, scratch: Path) -> Seen:
        every = ["--all-platforms"] if several else []
        self._on(scratch, "import", *every, NO_TLS, "--name", name, reference(kind, place))
        self._on(scratch, "save", *every, "--format", "dir", "-o", scratch / "dir", name)
        return seen(DIR, scratch / "dir")

    def _on(self, store: Path, *words: str | Path) -> str:
        return self._run("--quiet", "--root", store / "root", "--runroot", store / "run", *words)

    def _run(self, *words: str | Path) -> str:
        return self._runner.run(sys.executable, "-m", "arstore", *words, ours=True, PYTHONPATH=str(REPOSITORY))


TOOLS: Sequence[type[Tool]] = (Skopeo, Podman, Buildah, Umoci, Ctr, Arstore)
