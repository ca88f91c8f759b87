"""Containers of blobs: archives and directories whose members are not files, come twice, come late, or end early."""

from __future__ import annotations

import os
import socket
import tarfile
from typing import TYPE_CHECKING

from support import images

from hostile.case import FORMS, NAME, Case, Source, bring
from hostile.documents import of_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hostile.trial import Trial

DAMAGE = (
    "MissingBlob",
    "UnsafePath",
    "UnknownFormat",
    "Tar",
    "Manifest",
    "DigestMismatch",
    "SizeMismatch",
    "Truncated",
    "Limit",
)
PICTURE = images.image(images.layer([images.file("f", b"f" * 3000)], "none"), names=[NAME])
BLOB = "blobs/" + PICTURE.layers[0].digest.replace(":", "/")
INSIDE = {"f": b"f" * 3000}


def member(files: images.Files, name: str) -> images.Member:
    """The member of that name."""
    return next(one for one in files if one.info.name == name)


# --- members of archives that are not files -------------------------------------------------------------------------

KINDS = {
    "a symlink": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a character device": tarfile.CHRTYPE,
    "a block device": tarfile.BLKTYPE,
    "a FIFO": tarfile.FIFOTYPE,
    "a directory": tarfile.DIRTYPE,
}


def _of_kind(name: str, kind: bytes, entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        files = images.layout_files(PICTURE)
        one = member(files, name)
        one.info.type, one.info.size, one.content = kind, 0, b""
        one.info.linkname = str(trial.victim.path / "precious")
        bring(trial, of_files(entry, trial.source, files), DAMAGE, {})

    return attempt


def kinds() -> Iterator[Case]:
    """The layer's blob as each kind, and index.json as a link; read in place, and from a stream."""
    for number, (name, kind) in enumerate(KINDS.items()):
        for shift, entry in enumerate(("oci-archive", "stdin")):
            form = FORMS[(number + shift) % 2]
            yield Case("containers", f"a blob that is {name}, {entry}", form, _of_kind(BLOB, kind, entry))
    for place in ("index.json", "oci-layout"):
        attempt = _of_kind(place, tarfile.SYMTYPE, "oci-archive")
        yield Case("containers", f"{place} that is a symlink, oci-archive", "erofs", attempt)


# --- files of directories that are not files --------------------------------------------------------------------------


def _link(path: Path, trial: Trial) -> None:
    moved = trial.source / "moved"
    path.rename(moved)
    path.symlink_to(moved)


def _fifo(path: Path, _trial: Trial) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path, _trial: Trial) -> None:
    path.unlink()
    os.mknod(path, 0o20666, os.makedev(1, 5))


def _socket(path: Path, _trial: Trial) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)
        try:
            one.bind("s")
            os.rename("s", path.name)
        finally:
            os.fchdir(here)
            os.close(here)


def _directory(path: Path, _trial: Trial) -> None:
    path.unlink()
    path.mkdir()


def _victim(path: Path, trial: Trial) -> None:
    path.unlink()
    path.symlink_to(trial.victim.path / "precious")


MADE = {
    "a symlink": _link,
    "a symlink to the victim": _victim,
    "a FIFO": _fifo,
    "a device": _device,
    "a socket": _socket,
    "a directory": _directory,
}


def _made(make: Callable[[Path, Trial], None], name: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        layout = images.write_layout(trial.source / "layout", PICTURE)
        make(layout / name, trial)
        bring(trial, Source((layout,)), (*DAMAGE, "Host", "NotFound"), {})

    return attempt


def _made_in_dir(make: Callable[[Path, Trial], None], name: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        directory = images.write_dir(trial.source / "hostile", PICTURE)
        make(directory / name, trial)
        bring(trial, Source((directory,)), (*DAMAGE, "Host", "NotFound"), {})

    return attempt


def made() -> Iterator[Case]:
    """A blob and a document as each of these, in a layout and in a `dir:`."""
    for number, (name, make) in enumerate(MADE.items()):
        form = FORMS[number % 2]
        yield Case("containers", f"a blob that is {name}, layout", form, _made(make, BLOB))
        yield Case("containers", f"index.json that is {name}, layout", form, _made(make, "index.json"))
        blob = PICTURE.layers[0].digest[7:]
        yield Case("containers", f"a blob that is {name}, dir", form, _made_in_dir(make, blob))
        yield Case("containers", f"manifest.json that is {name}, dir", form, _made_in_dir(make, "manifest.json"))
    for name in ("blobs", "blobs/sha256"):
        yield Case("containers", f"{name} that is a symlink, layout", "erofs", _made(_link, name))


# --- order, repetition, ends ------------------------------------------------------------------------------------------


def _shaped(
    shape: Callable[[images.Files], images.Files], kinds: tuple[str, ...], entry: str
) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        bring(trial, of_files(entry, trial.source, shape(images.layout_files(PICTURE))), kinds, INSIDE)

    return attempt


OTHER = images.file(BLOB, b"g" * len(PICTURE.layers[0].blob))
SHAPES: dict[str, tuple[Callable[[images.Files], images.Files], tuple[str, ...]]] = {
    "blobs before what names them": (lambda files: files[::-1], ()),
    "a blob again, another one": (lambda files: [*files, OTHER], ("DigestMismatch", "Tar")),
    "another one before a blob": (lambda files: [OTHER, *files], ()),
    "a blob again, as a symlink": (lambda files: [*files, images.symlink(BLOB, "/etc/passwd")], DAMAGE),
    "a member up": (lambda files: [images.file("../../../../escaped", b"x"), *files], ("UnsafePath",)),
    "a member with an absolute name": (lambda files: [images.file("/tmp/../escaped", b"x"), *files], ()),
    "a symlink, then the blobs through it": (
        lambda files: [images.symlink("blobs", "/etc"), *(one for one in files if not one.info.isdir())],
        (),
    ),
    "names with dots": (
        lambda files: [*files[:-1], images.file("./x/../" + files[-1].info.name, files[-1].content)],
        (),
    ),
}


def shapes() -> Iterator[Case]:
    """Each in place and from a stream."""
    for number, (name, (shape, kinds)) in enumerate(SHAPES.items()):
        for shift, entry in enumerate(("oci-archive", "stdin")):
            yield Case("containers", f"{name}, {entry}", FORMS[(number + shift) % 2], _shaped(shape, kinds, entry))


CUT = ("UnknownFormat", "Truncated", "MissingBlob", "Compression")


def _cut(place: float, compression: str, entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "hostile.tar"
        if entry == "docker-archive":
            images.write_docker_archive(path, PICTURE, compression=compression)
        else:
            images.write_oci_archive(path, PICTURE, compression=compression)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(place) if place >= 1 else int(len(whole.rstrip(b"\0")) * place)])
        bring(trial, Source(("-",), (path,)) if entry == "stdin" else Source((path,)), CUT, {})

    return attempt


def ends() -> Iterator[Case]:
    """Archives that end early, and one that does not end where it should."""
    places = (1, 600, 0.3, 0.6, 0.95)
    for number, place in enumerate(places):
        for shift, entry in enumerate(("oci-archive", "stdin", "docker-archive")):
            compression = ("none", "gzip", "zstd")[(number + shift) % 3]
            attempt = _cut(place, compression, entry)
            yield Case("containers", f"cut at {place}, {compression}, {entry}", FORMS[number % 2], attempt)
    for number, entry in enumerate(("oci-archive", "stdin")):

        def attempt(trial: Trial, entry: str = entry) -> None:
            path = images.write_oci_archive(trial.source / "hostile.tar", PICTURE)
            path.write_bytes(path.read_bytes() + b"garbage" * 3000)
            bring(trial, Source(("-",), (path,)) if entry == "stdin" else Source((path,)), (), INSIDE)

        yield Case("containers", f"garbage after the end, {entry}", FORMS[number], attempt)


# --- links of docker-archives, which may lead somewhere ---------------------------------------------------------------

TARGETS = {
    "up": "../../../../../../etc/passwd",
    "to an absolute path": "/etc/passwd",
    "to itself": "layer.tar",
    "to nothing": "nowhere",
}


def docker_links() -> Iterator[Case]:
    """A layer that is a link, symbolic or hard."""
    for name, target in TARGETS.items():
        for form, link in zip(FORMS, (images.symlink, images.hardlink), strict=True):

            def attempt(trial: Trial, target: str = target, link: Callable[[str, str], images.Member] = link) -> None:
                files = images.docker_files(PICTURE, style="old")
                place = next(n for n, one in enumerate(files) if one.info.name.endswith("/layer.tar"))
                files[place] = link(files[place].info.name, target)
                bring(trial, Source((images.write_archive(trial.source / "hostile.tar", files),)), DAMAGE, {})

            kind = ("symlink", "hard link")[FORMS.index(form)]
            yield Case("containers", f"a layer that is a {kind} {name}, docker-archive", form, attempt)


def cases() -> Iterator[Case]:
    """All of this module."""
    yield from kinds()
    yield from made()
    yield from shapes()
    yield from ends()
    yield from docker_links()
