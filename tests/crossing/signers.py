"""The signers, and how each signs on a medium."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from interop.tools import NO_TLS, REPOSITORY, FailedError, Runner

from crossing.media import ARCHIVE, BUNDLE, DIR, GPG, LAYOUT, LOOKASIDE, REGISTRY, SIGSTORE, Keys, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "app:1"
"""The image's name in layouts and archives."""
_PREFIX = {LAYOUT: "oci", ARCHIVE: "oci-archive", DIR: "dir"}
_SECRET = "secret"
_GPG = ("gpg", "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "")
_COSIGN = ("--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--allow-insecure-registry")


class Bench:
    """The working directory of a run: one image, a home with the settings of registries, and the programs.

    *host* is the registry.
    """

    def __init__(self, runner: Runner, host: str, layout: Path) -> None:
        self.runner = runner
        self.work = runner.work
        self.host = host
        self.source = f"oci:{layout}"
        self.home = self.work / "home"
        self.settings = self.home / ".config/containers/registries.d"
        self.settings.mkdir(parents=True)
        lookaside = f"lookaside: 'file://{self.work}/lookaside'"
        (self.settings / "default.yaml").write_text(
            f"default-docker: {{use-sigstore-attachments: true, {lookaside}}}\n"
        )
        self.password = self.work / "password"
        self.password.write_text(_SECRET)
        self._number = 0

    def peer(self, *words: str | Path, **variables: str) -> str:
        """Run one of the other tools, with our home directory. Raises FailedError."""
        settings = {"HOME": str(self.home), "COSIGN_PASSWORD": _SECRET, **variables}
        return self.runner.run("env", *(f"{name}={value}" for name, value in settings.items()), *words)

    def arstore(self, *words: str | Path, **variables: str) -> str:
        """Run arstore on a new store. Raises FailedError."""
        store = self.fresh("store")
        places = ("--quiet", "--root", store / "root", "--runroot", store / "run")
        settings = {"HOME": str(self.home), "PYTHONPATH": str(REPOSITORY), **variables}
        try:
            return self.runner.run(sys.executable, "-m", "arstore", *places, *words, ours=True, **settings)
        finally:
            shutil.rmtree(store)

    def fresh(self, name: str) -> Path:
        """A new directory."""
        self._number += 1
        path = self.work / f"{name}-{self._number}"
        path.mkdir()
        return path


class Signer:
    """Signs in one form; `own` are the media that it writes itself."""

    name = ""
    form = ""
    programs: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.repository = f"{bench.host}/{self.name.replace(' ', '-').lower()}"
        self.identity = f"{self.repository}:1"
        self.directory = bench.fresh("signer")
        self.keys = self.make_keys()
        self._registry: Place | None = None

    def make_keys(self) -> Keys:
        """Make the key that signs, and another. Raises FailedError."""
        raise NotImplementedError

    def sign(self, medium: str, target: str) -> None:
        """Copy the image to *target* and sign it. Raises FailedError."""
        raise NotImplementedError

    def place(self, medium: str) -> Place:
        """The signed image on *medium*. Raises FailedError."""
        if medium in {REGISTRY, LOOKASIDE}:
            if self._registry is None:
                self.sign(medium, f"docker://{self.identity}")
                self._registry = Place(medium, f"docker://{self.identity}", self.identity, self.repository)
            return self._registry._replace(medium=medium)
        path = self.directory / medium
        target = f"{_PREFIX[medium]}:{path}"
        if medium in self.own:
            self.sign(medium, target)
        else:
            source = self.place(LOOKASIDE if self.form == GPG else REGISTRY).reference
            named = target if medium == DIR else f"{target}:{NAME}"
            self.bench.arstore("copy", NO_TLS, "--referrers", source, named)
        return Place(medium, target, str(path), self.repository, medium not in self.own)


class _Cosign(Signer):
    """cosign, in a registry and in the layout that `cosign save` writes."""

    programs = ("cosign",)
    own = (REGISTRY, LAYOUT)

    def make_keys(self) -> Keys:
        return cosign_keys(self.bench, self.directory)

    def sign(self, medium: str, target: str) -> None:
        if medium == LAYOUT:
            path = target.removeprefix("oci:")
            image = self.place(REGISTRY).path
            self.bench.peer("cosign", "save", *_COSIGN[2:], "--dir", path, image)
            return
        self.bench.arstore("copy", NO_TLS, self.bench.source, target)
        form = f"--new-bundle-format={str(self.form == BUNDLE).lower()}"
        key = self.directory / "good.key"
        self.bench.peer("cosign", "sign", "--yes", "--key", key, *_COSIGN, form, target.removeprefix("docker://"))


def cosign_keys(bench: Bench, directory: Path) -> Keys:
    """Two pairs of keys that cosign makes. Raises FailedError."""
    for name in ("good", "other"):
        bench.peer("cosign", "generate-key-pair", "--output-key-prefix", directory / name)
    return Keys(str(directory / "good.pub"), str(directory / "other.pub"))


class CosignLegacy(_Cosign):
    """cosign's older form, under the tag `.sig`."""

    name, form = "cosign legacy", SIGSTORE


class CosignBundle(_Cosign):
    """cosign 3's bundles."""

    name, form = "cosign bundle", BUNDLE


class _Skopeo(Signer):
    programs = ("skopeo",)

    def _copy(self, target: str, *words: str | Path, **variables: str) -> None:
        more = ("--sign-identity", self.identity) if target.startswith("dir:") else ("--dest-tls-verify=false",)
        copy = ("copy", "--quiet", *more, *words, f"{self.bench.source}:{NAME}", target)
        self.bench.peer("skopeo", "--insecure-policy", "--registries.d", self.bench.settings, *copy, **variables)


class SkopeoSigstore(_Skopeo):
    """`skopeo copy --sign-by-sigstore-private-key`."""

    name, form = "skopeo sigstore", SIGSTORE
    own = (REGISTRY, DIR)

    def make_keys(self) -> Keys:
        for name in ("good", "other"):
            words = ("--output-prefix", self.directory / name, "--passphrase-file", self.bench.password)
            self.bench.peer("skopeo", "generate-sigstore-key", *words)
        return Keys(str(self.directory / "good.pub"), str(self.directory / "other.pub"))

    def sign(self, medium: str, target: str) -> None:
        key = ("--sign-by-sigstore-private-key", self.directory / "good.private")
        self._copy(target, *key, "--sign-passphrase-file", self.bench.password)


class SkopeoGpg(_Skopeo):
    """`skopeo copy --sign-by`."""

    name, form = "skopeo GPG", GPG
    programs = ("skopeo", "gpg")
    own = (LOOKASIDE, DIR)

    def make_keys(self) -> Keys:
        return gpg_keys(self.bench, self.directory, ours=False)

    def sign(self, medium: str, target: str) -> None:
        self._copy(target, "--sign-by", "good@example.com", GNUPGHOME=str(self.directory / "gnupg"))


class _Arstore(Signer):
    """arstore, on all media."""

    own = (REGISTRY, LAYOUT, ARCHIVE, DIR, LOOKASIDE)

    def make_keys(self) -> Keys:
        for name in ("good", "other"):
            self.bench.arstore("keygen", "--passphrase-file", self.bench.password, self.directory / name)
        return Keys(str(self.directory / "good.pub"), str(self.directory / "other.pub"))

    def _options(self) -> tuple[Sequence[str | Path], Sequence[str | Path]]:
        """The options of `sign`, and those of `copy`."""
        key, bundle = self.directory / "good.key", self.form == BUNDLE
        sign = ("--key", key, "--passphrase-file", self.bench.password, *(["--bundle"] if bundle else []))
        copy = ("--sign-by-key", key, "--sign-passphrase-file", self.bench.password)
        return sign, (*copy, *(["--sign-bundle"] if bundle else []))

    def sign(self, medium: str, target: str) -> None:
        gpg = {"GNUPGHOME": str(self.directory / "gnupg")}
        sign, copy = self._options()
        if medium in {REGISTRY, LOOKASIDE}:
            self.bench.arstore("copy", NO_TLS, self.bench.source, target)
            self.bench.arstore("sign", NO_TLS, *sign, target, **gpg)
            return
        named = target if medium == DIR else f"{target}:{NAME}"
        self.bench.arstore("copy", *copy, "--sign-identity", self.identity, self.bench.source, named, **gpg)


class ArstoreSigstore(_Arstore):
    """`arstore sign --key`."""

    name, form = "arstore sigstore", SIGSTORE


class ArstoreBundle(_Arstore):
    """`arstore sign --key --bundle`."""

    name, form = "arstore bundle", BUNDLE


class ArstoreGpg(_Arstore):
    """`arstore sign --gpg`, with this host's gpg."""

    name, form = "arstore GPG", GPG

    def make_keys(self) -> Keys:
        return gpg_keys(self.bench, self.directory, ours=True)

    def _options(self) -> tuple[Sequence[str | Path], Sequence[str | Path]]:
        return ("--gpg", "good@example.com"), ("--sign-by", "good@example.com")


def gpg_keys(bench: Bench, directory: Path, *, ours: bool) -> Keys:
    """Two keys in a home of gpg below *directory*, and their public halves in files. Raises FailedError."""
    home = directory / "gnupg"
    home.mkdir(mode=0o700)
    found = []
    for user in ("good", "other"):
        out = directory / f"{user}.gpg"
        for words in (
            ("--quick-generate-key", f"{user} <{user}@example.com>", "ed25519", "sign", "never"),
            ("--output", out, "--export", f"{user}@example.com"),
        ):
            if ours:
                bench.runner.run(*_GPG, *words, ours=True, GNUPGHOME=str(home))
            else:
                bench.peer(*_GPG, *words, GNUPGHOME=str(home))
        found.append(str(out))
    return Keys(*found)


def end_agent(bench: Bench, directory: Path) -> None:
    """End the agent that this host's gpg started."""
    try:
        bench.runner.run("gpgconf", "--kill", "all", ours=True, GNUPGHOME=str(directory / "gnupg"))
    except FailedError:
        return


SIGNERS: Sequence[type[Signer]] = (
    CosignLegacy,
    CosignBundle,
    SkopeoSigstore,
    SkopeoGpg,
    ArstoreSigstore,
    ArstoreBundle,
    ArstoreGpg,
)
