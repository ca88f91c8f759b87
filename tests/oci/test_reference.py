"""Names of images: the grammar, as tools write them, and as users type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ArstoreError, InvalidReferenceError
from arstore.oci.reference import (
    Name,
    Query,
    candidates,
    from_annotations,
    from_file_name,
    parse_name,
    parse_query,
    parse_transport,
)

DIGEST = "sha256:" + "0a1b" * 16
WIDE = "sha512:" + "0a1b" * 32

COMPONENTS = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=3).map("/".join)
DOMAINS = st.sampled_from(
    ["", "localhost/", "localhost:5000/", "docker.io/", "a.example.com/", "A.example/", "10.0.0.1:443/", "[::1]:5000/"]
)
REPOSITORIES = st.builds("{}{}".format, DOMAINS, PATHS)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


# --- the grammar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repository", "tag"),
    [
        ("app", "app", "latest"),
        ("app:1.0", "app", "1.0"),
        ("a/b/c", "a/b/c", "latest"),
        ("localhost/app", "localhost/app", "latest"),
        ("localhost:5000/app", "localhost:5000/app", "latest"),
        ("localhost:5000/app:5000", "localhost:5000/app", "5000"),
        ("[2001:db8::1]:5000/app:x", "[2001:db8::1]:5000/app", "x"),
        ("Registry.Example.COM/app", "Registry.Example.COM/app", "latest"),
        ("a-b.example/x__y/z---w.v_u", "a-b.example/x__y/z---w.v_u", "latest"),
        ("app:" + "T" * 128, "app", "T" * 128),
        ("app:_x.-Y", "app", "_x.-Y"),
        ("foo.example", "foo.example", "latest"),
        ("1234", "1234", "latest"),
        ("x_y.z/app", "x_y.z/app", "latest"),
        ("a" * 255, "a" * 255, "latest"),
    ],
)
def test_names(text, repository, tag):
    assert parse_name(text) == Name(repository, tag)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a valid image name"),
        (":", "not a valid image name"),
        (":tag", "not a valid image name"),
        ("app:", "not a valid tag"),
        ("App", "cannot have upper-case letters"),
        ("example.com/App", "cannot have upper-case letters"),
        ("a/B:x", "cannot have upper-case letters"),
        ("app:-x", "not a valid tag"),
        ("app:.x", "not a valid tag"),
        ("app:a b", "not a valid tag"),
        ("app:" + "t" * 129, "129 characters; the limit is 128"),
        ("a" * 256, "256 characters; the limit is 255"),
        ("/app", "not a valid image name"),
        ("app/", "not a valid image name"),
        ("a//b", "not a valid image name"),
        ("a/../b", "not a valid image name"),
        ("../b", "is not a host name"),
        (".app", "not a valid image name"),
        ("app-", "not a valid image name"),
        ("a___b", "not a valid image name"),
        ("a..b", "not a valid image name"),
        ("a b", "not a valid image name"),
        ("app\n", "not a valid image name"),
        ("app:x\n", "not a valid tag"),
        ("名", "not a valid image name"),
        ("ａpp", "not a valid image name"),
        ("app\udc80", "not a valid image name"),
        ("-x.com/app", "is not a host name"),
        ("x.com:port/app", "is not a host name"),
        ("x.com:123456/app", "is not a host name"),
        ("x.com:/app", "is not a host name"),
        ("ex ample.com/app", "is not a host name"),
        (f"app@{DIGEST}", "cannot contain a digest"),
        (f"app:1@{DIGEST}", "cannot contain a digest"),
        (DIGEST, "must not look like a digest"),
        ("sha256:abcd", "must not look like a digest"),
        ("0a1b" * 16, "must not look like a digest"),
        ("http://x.com/app", "host name"),
    ],
)
def test_what_is_no_name_is_refused_in_one_line(text, why):
    with pytest.raises(InvalidReferenceError) as caught:
        parse_name(text)
    assert why in caught.value.why
    assert str(caught.value).isprintable()


@given(REPOSITORIES, TAGS)
def test_grammatical_names_read_back(repository, tag):
    name = parse_name(f"{repository}:{tag}")
    assert name == Name(repository, tag)
    assert parse_name(str(name)) == name
    assert parse_name(repository, tag) == name


@given(st.text(max_size=40) | st.text("aB1.:/@-_\n sha256", max_size=40))
def test_any_text_is_a_name_that_reads_back_or_refused(text):
    try:
        name = parse_name(text)
    except InvalidReferenceError as error:
        shown = str(error)
    else:
        shown = str(name)
        assert parse_name(shown) == name
        assert shown.isascii()
        assert ".." not in name.repository.split("/")
    assert shown.isprintable()


def test_the_default_tag_is_checked_too():
    assert parse_name("app", "1.0") == Name("app", "1.0")
    with pytest.raises(InvalidReferenceError, match="not a valid tag"):
        parse_name("app", "a/b")


# --- spellings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app:1", ["app:1", "localhost/app:1", "docker.io/library/app:1", "docker.io/app:1"]),
        ("team/app", ["team/app:latest", "localhost/team/app:latest", "docker.io/team/app:latest"]),
        ("localhost/app", ["localhost/app:latest", "app:latest"]),
        ("docker.io/library/app", ["docker.io/library/app:latest", "docker.io/app:latest", "app:latest"]),
        ("docker.io/app", ["docker.io/app:latest", "docker.io/library/app:latest", "app:latest"]),
        ("docker.io/team/app", ["docker.io/team/app:latest", "team/app:latest"]),
        (
            "index.docker.io/library/app",
            [
                "index.docker.io/library/app:latest",
                "docker.io/library/app:latest",
                "docker.io/app:latest",
                "app:latest",
            ],
        ),
        ("quay.io/team/app", ["quay.io/team/app:latest"]),
        ("localhost:5000/app", ["localhost:5000/app:latest"]),
    ],
)
def test_candidates(name, expected):
    assert candidates(name) == expected
    assert candidates(parse_name(name)) == expected


@given(REPOSITORIES, TAGS)
def test_candidates_are_names_with_the_same_tag_and_the_given_first(repository, tag):
    name = Name(repository, tag)
    found = candidates(name)
    assert found[0] == str(name)
    assert len(set(found)) == len(found)
    for text in found:
        assert parse_name(text).tag == tag
        assert parse_name(text).repository.endswith(repository.rpartition("/")[2])


@given(COMPONENTS, TAGS)
def test_a_short_name_finds_what_other_tools_stored(component, tag):
    name = Name(component, tag)
    for stored in candidates(name)[1:]:
        assert str(name) in candidates(stored)


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_name", "repository"),
    [
        ("pipeline.tar.gz", "pipeline"),
        ("pipeline", "pipeline"),
        ("/srv/images/pipeline.tar", "pipeline"),
        ("out/app/", "app"),
        ("app.tgz", "app"),
        ("app.tar.zst", "app"),
        ("app.tar.xz", "app"),
        ("app.tar.bz2", "app"),
        ("app.oci", "app"),
        ("app.oci-archive", "app"),
        ("app.oci.tar.gz", "app"),
        ("base.docker.tar", "base"),
        ("App.TAR.GZ", "app"),
        ("my-app_1.2.tar", "my-app_1.2"),
        ("app.v2.tar", "app.v2"),
        ("tar.gz", "tar"),
        ("流水线.tar.gz", None),
        ("my app.tar", None),
        ("app\n.tar", None),
        ("a\udc80.tar", None),
        ("\u212ait.tar", None),
        ("_app.tar", None),
        ("app-.tar", None),
        ("app:1.tar", None),
        ("app@1.tar", None),
        (".tar.gz", None),
        ("..", None),
        ("/", None),
        ("", None),
        ("-", None),
        ("0a1b" * 16 + ".tar", None),
        ("sha256.tar", None),
    ],
)
def test_file_names(file_name, repository):
    assert from_file_name(file_name) == (None if repository is None else Name(repository, "latest"))


@given(st.text(max_size=30))
def test_any_file_name_gives_a_name_or_none(file_name):
    name = from_file_name(file_name)
    assert name is None or (parse_name(str(name)) == name and name.tag == "latest")


# --- annotations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref_name", "containerd_name", "file_name", "expected"),
    [
        # podman and skopeo
        ("localhost/app:1", "", "x.tar", "localhost/app:1"),
        ("docker.io/library/app:latest", None, None, "docker.io/library/app:latest"),
        ("app:1", "", "x.tar", "app:1"),
        ("team/app", "", "x.tar", "team/app:latest"),
        ("base", "", "x.tar", "base:latest"),
        ("base", None, None, "base:latest"),
        # containerd and docker 25
        ("latest", "docker.io/library/app:latest", "x.tar", "docker.io/library/app:latest"),
        ("1.36", "docker.io/library/busybox:1.36", "", "docker.io/library/busybox:1.36"),
        ("1.0", f"docker.io/library/app:1.0@{DIGEST}", "", "docker.io/library/app:1.0"),
        ("1.0", f"import-2026-01-01@{DIGEST}", "app.tar", "app:1.0"),
        ("1.0", "Not A Name", "app.tar", "app:1.0"),
        # umoci and docker: the tag alone
        ("latest", "", "images/pipeline.tar.gz", "pipeline:latest"),
        ("1.0", "", "pipeline/", "pipeline:1.0"),
        ("v2", "", "pipeline", "pipeline:v2"),
        ("22.04-lts", "", "ubuntu.tar", "ubuntu:22.04-lts"),
        ("v1.0-RC1", "", "app.tar", "app:v1.0-RC1"),
        ("Release_1", "", "app.tar", "app:Release_1"),
        ("_x", "", "app.tar", "app:_x"),
        # a tag without a file that could be named
        ("latest", "", "", "latest:latest"),
        ("latest", "", "流水线.tar", "latest:latest"),
        ("1.0", None, None, "1.0:latest"),
        ("v1.0-RC1", "", "", None),
        # words that only look like a version
        ("vim", "", "x.tar", "vim:latest"),
        ("latest-app", "", "x.tar", "latest-app:latest"),
        # no names
        ("", "", "app.tar", None),
        (None, None, "app.tar", None),
        (DIGEST, "", "app.tar", None),
        ("0a1b" * 16, "", "app.tar", None),
        (f"@{DIGEST}", "", "app.tar", None),
        (f"app@{DIGEST}", "", "x.tar", None),
        (f"app:1@{DIGEST}", "", "x.tar", "app:1"),
        ("1.0+build", "", "app.tar", None),
        ("a/../b", "", "app.tar", None),
        ("x y", "", "app.tar", None),
        ("流水线", "", "app.tar", None),
        ("a:b:c", "", "app.tar", None),
    ],
)
def test_annotations(ref_name, containerd_name, file_name, expected):
    found = from_annotations(ref_name, containerd_name, file_name)
    assert (None if found is None else str(found)) == expected


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_annotations_give_a_name_or_none(ref_name, containerd_name, file_name):
    found = from_annotations(ref_name, containerd_name, file_name)
    assert found is None or parse_name(str(found)) == found


# --- transports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker://registry.example/app:1", ("docker", "registry.example/app:1")),
        ("oci:/srv/layout:1.0", ("oci", "/srv/layout:1.0")),
        ("oci-archive:a.tar:app:1", ("oci-archive", "a.tar:app:1")),
        ("docker-archive:a.tar", ("docker-archive", "a.tar")),
        ("dir:d", ("dir", "d")),
        ("store:app:1", ("store", "app:1")),
        ("pipeline.tar.gz", ("", "pipeline.tar.gz")),
        ("流水线.tar.gz", ("", "流水线.tar.gz")),
        ("app:1.tar", ("", "app:1.tar")),
        ("./oci:x", ("", "./oci:x")),
        ("/x/docker://y", ("", "/x/docker://y")),
        ("C:file", ("", "C:file")),
        ("OCI:x", ("", "OCI:x")),
        ("-", ("", "-")),
        ("oci", ("", "oci")),
        ("12:30 backup.tar", ("", "12:30 backup.tar")),
    ],
)
def test_transports(text, expected):
    assert parse_transport(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no image"),
        ("oci:", "nothing follows oci:"),
        ("docker://", "nothing follows docker://"),
        ("docker:app", "not a known transport"),
        ("docker-daemon:app:1", "not a known transport"),
        ("containers-storage:app", "not a known transport"),
        ("https://example.com/a.tar", "not a known transport"),
        ("file:///a.tar\n", "not a known transport"),
    ],
)
def test_other_transports_are_refused_with_a_list(text, why):
    with pytest.raises(InvalidReferenceError) as caught:
        parse_transport(text)
    assert caught.value.why == why
    assert "\n" not in str(caught.value)
    known = "docker:// oci: oci-archive: docker-archive: dir: store:"
    assert (known in caught.value.hint) == (why == "not a known transport")


@given(st.text(max_size=30))
def test_any_text_is_split_without_loss(text):
    try:
        transport, rest = parse_transport(text)
    except ArstoreError:
        return
    assert text == rest if not transport else text.startswith(f"{transport}:")
    assert text.endswith(rest)
    assert rest


# --- queries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", {"name": Name("app", "latest")}),
        ("localhost:5000/app:1", {"name": Name("localhost:5000/app", "1")}),
        (f"app@{DIGEST}", {"name": Name("app", "latest"), "digest": Digest(DIGEST)}),
        (f"app:1@{DIGEST}", {"name": Name("app", "1"), "digest": Digest(DIGEST)}),
        (f"@{DIGEST}", {"digest": Digest(DIGEST)}),
        (DIGEST, {"digest": Digest(DIGEST)}),
        (WIDE, {"digest": Digest(WIDE)}),
        (DIGEST.partition(":")[2], {"digest": Digest(DIGEST)}),
        (WIDE.partition(":")[2], {"digest": Digest(WIDE)}),
        ("sha256:0a1b", {"algorithm": "sha256", "prefix": "0a1b"}),
        ("sha512:0a1b" + "0" * 80, {"algorithm": "sha512", "prefix": "0a1b" + "0" * 80}),
        ("0a1b", {"name": Name("0a1b", "latest"), "prefix": "0a1b"}),
        ("cafe", {"name": Name("cafe", "latest"), "prefix": "cafe"}),
        ("0a1b" * 20, {"name": Name("0a1b" * 20, "latest"), "prefix": "0a1b" * 20}),
        ("abc", {"name": Name("abc", "latest")}),
        ("cafe:1", {"name": Name("cafe", "1")}),
    ],
)
def test_queries(text, expected):
    assert parse_query(text) == Query(text, **expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "App",
        "0A1B",
        "sha256:",
        "sha256:abc",
        "sha256:xyz1",
        "sha256:ABCD",
        "sha256:" + "0" * 65,
        "app@",
        "app@sha256:0a1b",
        "@",
        f"App@{DIGEST}",
        f"a@b@{DIGEST}",
        "md5:../x",
        "a b",
        "x\n",
        "sha256:0a1b\n",
        f"{DIGEST}\n",
    ],
)
def test_what_is_no_query_is_refused_in_one_line(text):
    with pytest.raises(InvalidReferenceError) as caught:
        parse_query(text)
    assert str(caught.value).isprintable()


def test_what_a_query_has():
    found = {text: parse_query(text) for text in ("0a1b", "sha256:0a1b", DIGEST, f"app@{DIGEST}", "app")}
    assert [query.digest for query in found.values()] == [None, None, DIGEST, DIGEST, None]
    assert [(query.algorithm, query.prefix) for query in found.values() if query.prefix] == [
        ("", "0a1b"),
        ("sha256", "0a1b"),
    ]
    assert found["app"].candidates()[0] == "app:latest"
    assert found[DIGEST].candidates() == []


@given(st.binary().map(Digest.of), st.integers(4, 64), st.booleans())
def test_each_prefix_that_is_long_enough_means_its_digest(digest, length, bare):
    text = digest.hex[:length]
    query = parse_query(text if bare else f"{digest.algorithm}:{text}")
    assert query.digest == digest if query.digest else query.prefix == text
    assert query.algorithm in ({""} if bare else {"", digest.algorithm})


@given(st.text(max_size=40) | st.text("aB1.:/@-_\n sha256", max_size=80))
def test_any_text_is_a_query_or_refused(text):
    try:
        query = parse_query(text)
    except InvalidReferenceError:
        return
    assert query.name is not None or query.digest is not None or query.prefix
