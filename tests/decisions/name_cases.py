"""Cases about names in signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decisions.making import APP, HUB, MIRROR, VENDOR
from decisions.policies import Case, default, directory, exact, gpg, remap, repository, rule, sig, text

if TYPE_CHECKING:
    from collections.abc import Iterator


def identities() -> Iterator[Case]:
    """Cases about names in signatures."""
    own = "p256.pub"
    named = [
        ("name-no-tag", exact(), exact()),
        ("name-no-tag", repository(), repository()),
        ("name-tag-2", exact(), None),
        ("name-tag-2", repository(), None),
        ("name-digest", exact(), None),
        ("name-digest", exact(f"{APP}@@DIGEST@"), None),
        ("name-digest", repository(), None),
        ("name-tag-digest", exact(), None),
        ("name-tag-digest", exact(f"{APP}:1@@DIGEST@"), None),
        ("name-tag-digest", repository(), None),
        ("name-other-repository", repository(), None),
        ("name-other-registry", repository(), None),
        ("name-upper", repository(), None),
        ("name-upper-host", repository(), None),
        ("name-short", repository(HUB), None),
        ("name-short", repository("busybox"), None),
        ("name-short", exact("busybox:latest"), None),
        ("name-short-tag", exact("busybox:latest"), None),
        ("name-short-tag", exact(f"{HUB}:latest"), None),
        ("name-hub-alias", exact(f"{HUB}:latest"), None),
        ("name-hub-alias", exact("index.docker.io/library/busybox:latest"), None),
        ("name-empty", repository(), None),
        ("name-garbage-name", repository(), None),
        ("name-hex-name", repository(), None),
        ("name-prefix-name", repository(), None),
        ("name-vendor", rule("matchRepository"), None),
        ("name-vendor", rule("matchExact"), None),
        ("name-vendor", None, None),
        ("name-vendor", remap("registry.example:5000/vendor-mirror", "vendor.example"), None),
    ]
    seen: set[str] = set()
    for fixture, identity, _ in named:
        said = "the default" if identity is None else " ".join(map(str, identity.values()))
        title = f"dir: {fixture.removeprefix('name-')} by {said}"
        if title not in seen:
            seen.add(title)
            yield Case("identities", title, text(default(sig(identity, own))), directory(fixture), fixture)
    kinds = ("matchExact", "matchRepoDigestOrExact", "matchRepository")
    labels = (
        "plain",
        "no-tag",
        "tag-2",
        "digest",
        "tag-digest",
        "other-repository",
        "prefix-name",
        "empty",
        "garbage-name",
    )
    for label in labels:
        for kind in kinds:
            for what, behind in (("tag", ":1"), ("digest", "@@DIGEST@")):
                if label not in ("plain", "no-tag", "tag-2", "digest", "tag-digest") and (what, kind) != (
                    "tag",
                    "matchRepository",
                ):
                    continue
                source = f"docker://registry.example:5000/names/{label}{behind}"
                policy = text(default(sig(rule(kind), own)))
                yield Case("identities", f"docker: {label} asked by {what}, {kind}", policy, source, f"at-{label}")
    mirror = f"docker://{MIRROR}:1"
    remaps = [
        ("the namespace", remap("registry.example:5000/vendor-mirror", "vendor.example"), mirror),
        ("the repository", remap(MIRROR, VENDOR), mirror),
        ("a part of a component", remap("registry.example:5000/vendor", "vendor.example"), mirror),
        ("the registry", remap("registry.example:5000", "vendor.example"), mirror),
        ("the registry without its port", remap("registry.example", "vendor.example"), mirror),
        ("another prefix", remap("other.example", "vendor.example"), mirror),
        ("to a short name", remap(MIRROR, "busybox"), mirror),
        ("to another vendor", remap("registry.example:5000/vendor-mirror", "other.example"), mirror),
        (
            "asked by digest",
            remap("registry.example:5000/vendor-mirror", "vendor.example"),
            f"docker://{MIRROR}@@DIGEST@",
        ),
        (
            "asked by another tag",
            remap("registry.example:5000/vendor-mirror", "vendor.example"),
            f"docker://{MIRROR}:2",
        ),
    ]
    for title, identity, source in remaps:
        yield Case("identities", f"remapIdentity: {title}", text(default(gpg(identity))), source, "mirror")
    yield Case(
        "identities",
        "remapIdentity: unchanged",
        text(default(gpg(remap("other.example", "x.example")))),
        f"docker://{APP}:1",
        "app",
    )
    yield Case(
        "identities",
        "cosign: the default",
        text(default(sig(key="cosign.pub"))),
        "docker://registry.example:5000/team/cosigned:1",
        "cosigned",
    )
    yield Case(
        "identities",
        "cosign: matchRepository",
        text(default(sig(rule("matchRepository"), "cosign.pub"))),
        "docker://registry.example:5000/team/cosigned:1",
        "cosigned",
    )
    yield Case(
        "identities",
        "cosign: another key",
        text(default(sig(rule("matchRepository")))),
        "docker://registry.example:5000/team/cosigned:1",
        "cosigned",
    )
    yield Case("identities", "hub: short name", text(default(gpg())), "docker://busybox", "hub")
