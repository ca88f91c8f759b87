"""Cases about scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decisions.making import APP, HUB, WILD
from decisions.policies import (
    ACCEPT,
    BARE,
    REJECT,
    Case,
    exact,
    gpg,
    of,
    text,
    under,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def scopes() -> Iterator[Case]:
    """Cases about which list applies."""
    digest = "@DIGEST@"
    app, wild, hub, place = f"docker://{APP}:1", f"docker://{WILD}:1", f"docker://{HUB}", "@W@/dir/app"
    rows: list[tuple[str, Any, str, str]] = [
        ("docker: the tag", under("docker", {f"{APP}:1": [ACCEPT]}), app, "app"),
        ("docker: another tag", under("docker", {f"{APP}:2": [ACCEPT]}), app, "app"),
        ("docker: the repository", under("docker", {APP: [ACCEPT]}), app, "app"),
        ("docker: the namespace", under("docker", {"registry.example:5000/team": [ACCEPT]}), app, "app"),
        ("docker: a part of a component", under("docker", {"registry.example:5000/te": [ACCEPT]}), app, "app"),
        ("docker: a slash at the end", under("docker", {"registry.example:5000/team/": [ACCEPT]}), app, "app"),
        ("docker: the registry", under("docker", {"registry.example:5000": [ACCEPT]}), app, "app"),
        ("docker: the registry in other case", under("docker", {"Registry.example:5000": [ACCEPT]}), app, "app"),
        ("docker: the registry without its port", under("docker", {"registry.example": [ACCEPT]}), app, "app"),
        ("docker: the registry with another port", under("docker", {"registry.example:5001": [ACCEPT]}), app, "app"),
        ("docker: the default", of("docker", _=[ACCEPT]), app, "app"),
        ("docker: tag before repository", under("docker", {f"{APP}:1": [ACCEPT], APP: [REJECT]}), app, "app"),
        (
            "docker: repository before namespace",
            under("docker", {"registry.example:5000/team": [ACCEPT], APP: [REJECT]}),
            app,
            "app",
        ),
        (
            "docker: namespace before default",
            under("docker", {"": [ACCEPT], "registry.example:5000/team": [REJECT]}),
            app,
            "app",
        ),
        ("docker: a pattern for the registry itself", under("docker", {"*.registry.example": [ACCEPT]}), app, "app"),
        ("docker: a pattern one level up", under("docker", {"*.example": [ACCEPT]}), app, "app"),
        ("docker: a pattern with a port", under("docker", {"*.example:5000": [ACCEPT]}), app, "app"),
        ("docker: a pattern with a path", under("docker", {"*.example/team": [ACCEPT]}), app, "app"),
        ("docker: a star alone", under("docker", {"*": [ACCEPT]}), app, "app"),
        ("docker: a star within", under("docker", {"registry.*:5000": [ACCEPT]}), app, "app"),
        ("docker: a pattern three levels up", under("docker", {"*.domain.example": [ACCEPT]}), wild, "wild"),
        (
            "docker: the nearest pattern",
            under("docker", {"*.example": [ACCEPT], "*.sub.domain.example": [REJECT]}),
            wild,
            "wild",
        ),
        (
            "docker: registry before pattern",
            under("docker", {"*.example": [REJECT], "deep.sub.domain.example:8443": [ACCEPT]}),
            wild,
            "wild",
        ),
        ("docker: the digest", under("docker", {f"{APP}@{digest}": [ACCEPT]}), f"docker://{APP}@{digest}", "app"),
        ("docker: the digest, asked by tag", under("docker", {f"{APP}@{digest}": [ACCEPT]}), app, "app"),
        (
            "docker: the tag, asked by digest",
            under("docker", {f"{APP}:1": [ACCEPT]}),
            f"docker://{APP}@{digest}",
            "app",
        ),
        (
            "docker: the repository, asked by digest",
            under("docker", {APP: [ACCEPT]}),
            f"docker://{APP}@{digest}",
            "app",
        ),
        ("docker: a short name as scope", under("docker", {"busybox": [ACCEPT]}), hub, "hub"),
        ("docker: latest is added", under("docker", {f"{HUB}:latest": [ACCEPT]}), hub, "hub"),
        ("docker: library alone", under("docker", {"library": [ACCEPT]}), hub, "hub"),
        ("docker: the hub's library", under("docker", {"docker.io/library": [ACCEPT]}), "docker://busybox", "hub"),
        ("docker: the hub", under("docker", {"docker.io": [ACCEPT]}), "docker://busybox:latest", "hub"),
        (
            "docker: the hub's other name",
            under("docker", {"index.docker.io": [ACCEPT]}),
            "docker://index.docker.io/library/busybox",
            "hub",
        ),
        (
            "docker: the hub by its other name",
            under("docker", {"docker.io/library/busybox": [ACCEPT]}),
            "docker://index.docker.io/library/busybox",
            "hub",
        ),
        ("docker: another transport's scope", of("dir", _=[ACCEPT]), app, "app"),
        ("docker: atomic's scope", under("atomic", {APP: [ACCEPT]}), app, "app"),
        ("docker: the transport with a colon", under("docker:", {APP: [ACCEPT]}), app, "app"),
        ("docker: the transport in other case", under("Docker", {APP: [ACCEPT]}), app, "app"),
        ("dir: the path", under("dir", {place: [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: the directory above", under("dir", {"@W@/dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two above", under("dir", {"@W@": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a part of a component", under("dir", {"@W@/di": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: the default", of("dir", _=[ACCEPT]), f"dir:{place}", "app"),
        (
            "dir: the path before the one above",
            under("dir", {place: [ACCEPT], "@W@/dir": [REJECT]}),
            f"dir:{place}",
            "app",
        ),
        ("dir: by a symlink, scope of the target", under("dir", {place: [ACCEPT]}), "dir:@W@/link/app", "app"),
        ("dir: by a symlink, scope of the link", under("dir", {"@W@/link/app": [ACCEPT]}), "dir:@W@/link/app", "app"),
        ("dir: with dots", under("dir", {place: [ACCEPT]}), "dir:@W@/dir/../dir/./app", "app"),
        ("dir: the root", under("dir", {"/": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a relative path", under("dir", {"dir/app": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a slash at the end", under("dir", {f"{place}/": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two slashes", under("dir", {"@W@//dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: dots in the scope", under("dir", {"@W@/x/../dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two slashes in front", under("dir", {"/@W@/dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("oci: the layout", under("oci", {"@W@/oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the layout and the name", under("oci", {"@W@/oci:first:1": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the directory above", under("oci", {"@W@": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the root", under("oci", {"/": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a relative path", under("oci", {"oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a slash at the end", under("oci", {"@W@/oci/": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: dir's scope", under("dir", {"@W@/oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a signature is needed", under("oci", {"@W@/oci": [gpg(exact())]}), "oci:@W@/oci:first:1", "bare"),
        (
            "oci-archive: the file",
            under("oci-archive", {"@W@/oci.tar": [ACCEPT]}),
            "oci-archive:@W@/oci.tar:first:1",
            "bare",
        ),
        (
            "oci-archive: the directory above",
            under("oci-archive", {"@W@": [ACCEPT]}),
            "oci-archive:@W@/oci.tar:first:1",
            "bare",
        ),
        ("oci-archive: oci's scope", under("oci", {"@W@": [ACCEPT]}), "oci-archive:@W@/oci.tar:first:1", "bare"),
        ("docker-archive: the default", of("docker-archive", _=[ACCEPT]), "docker-archive:@W@/docker.tar", "bare"),
        (
            "docker-archive: a path",
            under("docker-archive", {"@W@/docker.tar": [ACCEPT]}),
            "docker-archive:@W@/docker.tar",
            "bare",
        ),
        ("tarball: a path", under("tarball", {"/x": [ACCEPT]}), BARE, "bare"),
        ("sif: a path", {"default": [ACCEPT], "transports": {"sif": {"/x": [REJECT]}}}, BARE, "bare"),
        ("sif: a relative path", {"default": [ACCEPT], "transports": {"sif": {"x": [REJECT]}}}, BARE, "bare"),
        (
            "docker-daemon: a digest",
            {"default": [ACCEPT], "transports": {"docker-daemon": {digest: [REJECT]}}},
            BARE,
            "bare",
        ),
        (
            "docker-daemon: a name",
            {"default": [ACCEPT], "transports": {"docker-daemon": {HUB: [REJECT]}}},
            BARE,
            "bare",
        ),
        (
            "atomic: too many components",
            {"default": [ACCEPT], "transports": {"atomic": {"h/a/b/c": [REJECT]}}},
            BARE,
            "bare",
        ),
        ("atomic: a stream", {"default": [ACCEPT], "transports": {"atomic": {"h:1/a/b:c": [REJECT]}}}, BARE, "bare"),
    ]
    storage = (
        ("a name", "docker.io/x"),
        ("a root", "[/var/lib/x]"),
        ("a driver and a root", "[overlay@/var/lib/x]"),
        ("a relative root", "[overlay@x]"),
        ("no root", "[]"),
        ("an image", "[/x]docker.io/library/y:1"),
        ("an id", f"[/x]y@{'a' * 64}"),
        ("a short id", "[/x]y@abc"),
        ("a digest and an id", f"[/x]y@{digest}@{'a' * 64}"),
        ("two ids", f"[/x]y@{'a' * 64}@{'a' * 64}"),
        ("an open bracket", "[/x"),
    )
    for title, policy, source, fixture in rows:
        yield Case("scopes", title, text(policy), source, fixture)
    for title, scope in storage:
        policy = {"default": [ACCEPT], "transports": {"containers-storage": {scope: [REJECT]}}}
        yield Case("scopes", f"containers-storage: {title}", text(policy), BARE)
