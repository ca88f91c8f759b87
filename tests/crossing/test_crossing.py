"""The matrix of docs/design/trust-matrix.md: arstore's part always, the peers' part where they are installed."""

from __future__ import annotations

import re
import subprocess

import pytest
from interop.tools import REPOSITORY, FailedError, Runner
from support import dockerregistry, images, programs, registry

from crossing.matrix import FAILED, GOOD, LIMIT, Cell, run
from crossing.media import BUNDLE, DIR, GPG, LOOKASIDE, MEDIA, NO_PLACE, REGISTRY, Place
from crossing.report import table
from crossing.signers import NAME, SIGNERS, ArstoreBundle, ArstoreSigstore, Bench, CosignBundle, CosignLegacy
from crossing.verifiers import VERIFIERS, Arstore, Limit, Skopeo

OURS = [kind for kind in SIGNERS if kind.name.startswith("arstore")]
PAGE = REPOSITORY / "docs/design/trust-matrix.md"


@pytest.fixture
def runner(tmp_path_factory):
    """A runner with a short path, because it contains gpg's sockets."""
    return Runner(tmp_path_factory.mktemp("x"))


OLDEST = {
    "cosign": ("version", r"GitVersion: +(devel|v3)"),
    "skopeo": ("--help", "generate-sigstore-key"),
    "podman": ("--version", r"podman version [5-9]"),
}
"""How to recognise that a tool belongs to the generation that the matrix is about."""


def is_usable(name: str) -> bool:
    """Whether this host has the program, in a version that verifies sigstore signatures: those of Debian 12 do not."""
    path = programs.program(name)
    if path is None or name not in OLDEST:
        return path is not None
    word, wanted = OLDEST[name]
    done = subprocess.run([path, word], capture_output=True, text=True, check=False, timeout=60)
    return re.search(wanted, done.stdout + done.stderr) is not None


def only_good(cells: list[Cell]) -> list[Cell]:
    assert [cell for cell in cells if cell.outcome == FAILED] == []
    assert cells
    return cells


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
def test_arstore_verifies_what_arstore_signs(runner, kind):
    if "GPG" in kind.name and programs.program("gpg") is None:
        pytest.skip("not installed: gpg")
    with registry.served() as served:
        cells = only_good(list(run(runner, served.host, [kind], [Arstore])))
    assert {cell.medium: cell.outcome for cell in cells} == {
        medium: LIMIT if (kind.form, medium) in NO_PLACE else GOOD for medium in MEDIA
    }


@pytest.mark.parametrize("kind", SIGNERS, ids=lambda kind: kind.name)
def test_the_tools_of_this_host(runner, tmp_path, kind):
    """Both ways: arstore verifies what the tools sign, and they verify what arstore signs."""
    usable = programs.program if kind.form == GPG else is_usable
    peers = [one for one in VERIFIERS if one is not Arstore and all(map(usable, one.programs))]
    missing = [name for name in (*kind.programs, "docker-registry") if not usable(name)]
    if missing:
        pytest.skip(f"not installed, or too old for sigstore: {', '.join(missing)}")
    if not peers:
        pytest.skip("not installed, or too old for sigstore: cosign, skopeo, podman")
    if "GPG" in kind.name and programs.program("gpg") is None:
        pytest.skip("not installed: gpg")
    asked = peers if kind in OURS else [*peers, Arstore]
    with dockerregistry.served(tmp_path) as host:
        cells = only_good(list(run(runner, host, [kind], asked)))
    if kind not in OURS:
        arstore = {cell.medium: cell.outcome for cell in cells if cell.verifier == "arstore"}
        assert arstore == {m: LIMIT if (kind.form, m) in NO_PLACE else GOOD for m in MEDIA}


def test_a_dir_refuses_a_bundle(runner):
    """A medium's limit in the matrix must be reported by arstore as an error, not passed over silently."""
    with registry.served() as served:
        bench = Bench(runner, served.host, images.write_layout(runner.work / "image", images.example([NAME])))
        signer = ArstoreBundle(bench)
        with pytest.raises(FailedError, match="bundle"):
            signer.sign(DIR, f"dir:{runner.work}/out")


def test_a_failure_is_seen(runner, monkeypatch):
    """Failures of a verifier: it accepts another key, rejects the good one, or reports a limit in other words."""

    class Lax(Arstore):
        name = "lax"

        def verify(self, form, place, key):
            return

    class Strict(Arstore):
        name = "strict"

        def limit(self, form, place):
            return Limit("is known for this", "other words") if place.medium == DIR else None

        def verify(self, form, place, key):
            raise FailedError("no")

    with registry.served() as served:
        cells = list(run(runner, served.host, [ArstoreSigstore], [Lax, Strict]))
    outcomes = {(cell.verifier, cell.medium): (cell.outcome, cell.why) for cell in cells}
    assert outcomes["lax", REGISTRY] == (FAILED, "accepted with another key")
    assert outcomes["strict", REGISTRY] == outcomes["strict", DIR] == (FAILED, "no")
    assert outcomes["strict", LOOKASIDE][0] == LIMIT
    assert "**✗**" in table(cells, {}).partition("\n\n")[2]


def test_limits_are_believed_only_of_whom_they_are_known(runner):
    bench = Bench(runner, "example.org", runner.work)
    here = Place(REGISTRY, "docker://example.org/a:1", "example.org/a:1", "example.org/a")
    assert Skopeo(bench).limit("sigstore", here) is None
    limit = Skopeo(bench).limit(BUNDLE, here)
    assert limit.fits("Error: A signature was required, but no signature exists")
    assert not limit.fits("Error: connection refused")
    assert not Limit("never asked").fits("")


def test_the_page_has_every_cell_and_no_failure():
    text = PAGE.read_text()
    body = text.partition("<!-- generated by tools/trust matrix -->\n")[2]
    rows = re.findall(r"^\| (\w+ \w+) \|((?: [^|]+ \|){5})$", body, re.MULTILINE)
    assert len(rows) == len(SIGNERS) * len(VERIFIERS) + len(VERIFIERS)
    assert "✗" not in body.partition("\n## ")[2]
    numbers = {int(found) for _, cells in rows for found in re.findall(r" (\d+) ", cells)}
    assert numbers == {int(found) for found in re.findall(r"^(\d+)\. ", body, re.MULTILINE)}
    ours = body.partition("## Verified by arstore\n")[2]
    assert ours.count("✓") == len(MEDIA) * len(SIGNERS) - sum(
        (kind.form, medium) in NO_PLACE for kind in SIGNERS for medium in MEDIA
    )
    assert {CosignLegacy.name, CosignBundle.name} <= {name for name, _ in rows}
