"""skopeo's YAML: the supported settings, and those that are refused rather than misunderstood."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, LimitError, NotFoundError, RegistryConfigError
from arstore.registry.access import NO_OPTIONS
from arstore.sync.wishes import is_attached
from arstore.sync.yaml_file import LARGEST, read_wishes, wishes_of

DIGEST = "sha256:" + "a" * 64
WHOLE = f"""
# as in skopeo-sync(1)
registry.example.com:
    images:
        busybox: []
        redis:
            - 1.10
            - "2.0"
            - {DIGEST}
    images-by-tag-regex:
        nginx: ^1\\.13\\.[12]-alpine-perl$
    images-by-semver:
        alpine: ">= 3.12.0"
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
quay.io/coreos:
    tls-verify: no
    images:
        etcd:
"""


pytest.importorskip("yaml")


def wishes(text):
    return wishes_of(text.encode(), "sync.yaml", NO_OPTIONS)


def test_all_that_skopeo_documents():
    busybox, redis, nginx, alpine, etcd = wishes(WHOLE)
    assert busybox.repository.repository == "registry.example.com/busybox"
    assert busybox.choice.of(["1", "2"]) == ["1", "2"]
    assert redis.choice.of(["9"]) == ["1.10", "2.0"]
    assert redis.choice.digests == (DIGEST,)
    assert nginx.choice.of(["1.13.1-alpine-perl", "1.13.3-alpine-perl"]) == ["1.13.1-alpine-perl"]
    assert alpine.choice.of(["3.11", "3.12", "edge"]) == ["3.12"]
    options = redis.options
    assert (options.credential.user, options.credential.password) == ("john", "this is a secret")
    assert (options.tls_verify, options.cert_dir) == (True, "/home/john/certs")
    assert etcd.repository.repository == "quay.io/coreos/etcd"
    assert (etcd.options.tls_verify, etcd.options.credential) == (False, None)


def test_a_pattern_may_match_anywhere_as_in_go():
    (wish,) = wishes("r.io: {images-by-tag-regex: {a: alpine}}")
    assert wish.choice.of(["1-alpine-2", "1"]) == ["1-alpine-2"]


def test_tags_of_signatures_are_taken_only_when_they_are_listed():
    tags = [
        "1",
        f"sha256-{'a' * 64}",
        f"sha256-{'a' * 64}.sig",
        f"sha256-{'b' * 64}.att",
        f"sha512-{'c' * 64}",
        "v1.sbom",
        "sha256-abc",
    ]
    assert [tag for tag in tags if not is_attached(tag)] == ["1", "sha256-abc"]
    (wish,) = wishes("r.io: {images: {a: []}}")
    assert wish.choice.of(tags) == ["1", "sha256-abc"]
    (wish,) = wishes(f"r.io: {{images: {{a: [sha256-{'a' * 64}.sig]}}}}")
    assert wish.choice.of(()) == [f"sha256-{'a' * 64}.sig"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no images"),
        ("[]", "not a mapping"),
        ("r.io: {}", "names no images"),
        ("r.io: {images: [a]}", "not a mapping"),
        ("r.io: {images: {a: b}}", "not a list of tags"),
        ("r.io: {images: {a: [b c]}}", "neither a tag nor a digest"),
        ("r.io: {images: {a: [[b]]}}", "neither a tag nor a digest"),
        ("r.io: {images: {'a:1': []}}", "has a tag"),
        ("r.io: {images: {A: []}}", "upper-case"),
        ("r.io: {images: {../x: []}}", "not a valid image name"),
        ("r.io: {image: {a: []}}", "unknown key image"),
        ("r.io: {tls_verify: false, images: {a: []}}", "unknown key tls_verify"),
        ("r.io: {tls-verify: maybe, images: {a: []}}", "must be true or false"),
        ("r.io: {credentials: {username: x}, images: {a: []}}", "a username and a password"),
        ("r.io: {credentials: {username: x, password: y, more: z}, images: {a: []}}", "a username and a password"),
        ("r.io: {images: {a: []}}\nr.io: {images: {b: []}}", "line 2: the key r.io occurs twice"),
        ("r.io: {images: {a: [], a: [b]}}", "the key a occurs twice"),
        ("r.io: &x {images: {a: []}}\ns.io: {<<: *x}", "merge keys"),
        ("r.io: {images-by-tag-regex: {a: '('}}", "images-by-tag-regex"),
        ("r.io: {images-by-semver: {a: banana}}", "not a range"),
        ("r.io: {images-by-semver: {a: [1]}}", "not a text"),
        ("a: [", "line "),
        ("{" * 30, "levels"),
        ("&a {x: *a}", "sync.yaml"),
        ("? [1]\n: x", "not a string"),
        ("!!python/object/apply:os.system ['true']", "not a mapping"),
    ],
)
def test_what_is_refused(text, why):
    with pytest.raises(RegistryConfigError, match=why):
        wishes(text)


def test_a_secret_is_in_no_message():
    with pytest.raises(RegistryConfigError) as caught:
        wishes("r.io: {credentials: {username: '', password: hunter2}, images: {a: []}}")
    assert "hunter2" not in str(caught.value)


def test_files_are_bounded(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(LimitError):
        read_wishes(str(path), NO_OPTIONS)
    with pytest.raises(NotFoundError):
        read_wishes(f"{path}.missing", NO_OPTIONS)
    doubled = "".join(f"k{n}: &k{n} [{f'*k{n - 1}, ' * 9 if n else 'x'}]\n" for n in range(12))
    with pytest.raises(RegistryConfigError):
        wishes(doubled)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    with suppress(ArstoreError):
        wishes(text)
