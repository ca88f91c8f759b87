"""Image configs as real tools write them, invalid ones, and adding a layer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ArstoreError, LimitError, ManifestError
from arstore.oci.config import History, ImageConfig
from arstore.oci.document import BOUNDS, STORED
from arstore.oci.platform import Platform

A, B, C = (str(Digest.of(letter)) for letter in (b"a", b"b", b"c"))
PLAIN = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [A, B]}}


def parsed(document):
    return ImageConfig.parse(json.dumps(document).encode(), "doc")


def with_process(process):
    return parsed(PLAIN | {"config": process})


UMOCI = """{"created":"2026-01-23T17:21:02.231282802Z","author":"me","architecture":"amd64","os":"linux","config":{
"User":"1:2","ExposedPorts":{"80/tcp":{}},"Env":["A=b","PATH=/usr/bin:/bin"],"Entrypoint":["/e"],"Cmd":["sh"],
"Volumes":{"/data":{}},"WorkingDir":"/w","Labels":{"x":"y"},"StopSignal":"SIGINT"},"rootfs":{"type":"layers","diff_ids":
["DIFF_ID"]},"history":[{"created":"2026-01-23T17:21:02.248212428Z","created_by":"umoci config","author":"me",
"empty_layer":true},{"created":"2026-01-23T17:21:02.259338355Z","created_by":"umoci insert"}]}""".replace("DIFF_ID", A)

DOCKER = r"""{"architecture":"arm64","config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,
"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["PATH=/usr/bin"],"Cmd":
["/bin/sh","-c","echo \"hi\""],"Image":"sha256:0123","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,
"Labels":null,"ArgsEscaped":true,"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000}},"container":"92",
"container_config":{"Hostname":"92","Cmd":["/bin/sh"]},"created":"2021-06-17T10:00:00Z","docker_version":"20.10.7",
"history":[{"created":"2021-06-17T10:00:00Z","created_by":"/bin/sh -c #(nop) ADD file:4f in / "},{"created":
"2021-06-17T10:00:01Z","created_by":"/bin/sh -c #(nop)  CMD [\"/bin/sh\"]","empty_layer":true}],"os":"linux","rootfs":
{"type":"layers","diff_ids":["DIFF_ID"]},"variant":"v8"}""".replace("DIFF_ID", A)


def test_umoci_config():
    config = ImageConfig.parse(UMOCI.encode())
    assert config.raw == UMOCI.encode()
    assert config.digest == Digest.of(UMOCI.encode())
    assert config.platform == Platform("linux", "amd64")
    assert config.diff_ids == (A,)
    assert (config.created, config.author) == ("2026-01-23T17:21:02.231282802Z", "me")
    assert (config.user, config.working_dir, config.stop_signal) == ("1:2", "/w", "SIGINT")
    assert (config.env, config.entrypoint, config.cmd) == (("A=b", "PATH=/usr/bin:/bin"), ("/e",), ("sh",))
    assert (config.volumes, config.exposed_ports, config.labels) == (("/data",), ("80/tcp",), {"x": "y"})
    assert config.history == (
        History("2026-01-23T17:21:02.248212428Z", "umoci config", "me", "", True),
        History("2026-01-23T17:21:02.259338355Z", "umoci insert"),
    )


def test_docker_config():
    config = ImageConfig.parse(DOCKER.encode())
    assert config.platform == Platform("linux", "arm64", "v8")
    assert (config.entrypoint, config.cmd) == ((), ("/bin/sh", "-c", 'echo "hi"'))
    assert (config.volumes, config.labels, config.working_dir) == ((), {}, "")
    assert config.healthcheck == {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000}
    assert [entry.empty_layer for entry in config.history] == [False, True]


def test_the_least_that_a_config_says():
    config = parsed({"rootfs": {"type": "layers"}})
    assert (config.diff_ids, config.history, config.platform) == ((), (), Platform("", ""))
    assert not config.platform.is_known
    assert config.healthcheck is None


def test_null_stands_for_every_empty_value():
    texts, lists = ["User", "WorkingDir", "StopSignal"], ["Env", "Entrypoint", "Cmd", "Shell"]
    process = dict.fromkeys([*texts, *lists, "Volumes", "Labels", "ExposedPorts", "Healthcheck", "ArgsEscaped"])
    nulls = parsed(
        {
            "architecture": None,
            "os": None,
            "variant": None,
            "os.version": None,
            "os.features": None,
            "created": None,
            "author": None,
            "history": [dict.fromkeys(["created", "created_by", "author", "comment", "empty_layer"])],
            "config": process,
            "rootfs": {"type": "layers", "diff_ids": None},
        }
    )
    least = parsed({"rootfs": {"type": "layers"}, "history": [{}]})
    assert nulls.history == (History(),)
    for name in ImageConfig.__dataclass_fields__.keys() - {"raw"}:
        assert getattr(nulls, name) == getattr(least, name), name
    assert parsed({"rootfs": {"type": "layers"}, "config": None, "history": None}).cmd == ()


def test_platform_of_windows():
    config = parsed(PLAIN | {"os": "windows", "os.version": "10.0.17763.1", "os.features": ["win32k"]})
    assert config.platform == Platform("windows", "amd64", "", "10.0.17763.1", ("win32k",))


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (["A=b=c", "B="], ("A=b=c", "B=")),
        (["A"], ("A=",)),
        (["A=1", "A=2"], ("A=1", "A=2")),
        (["", "A=1", None], ("A=1",)),
        (["A=1", "=x", 1, "B=\0", [], "C="], ("A=1", "C=")),
        ({"A": "1"}, ()),
        ("A=1", ()),
        (["L=one\ntwo", "名=值"], ("L=one\ntwo", "名=值")),
    ],
)
def test_each_variable_has_a_name_and_a_value(env, expected):
    assert with_process({"Env": env}).env == expected


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (PLAIN | {"rootfs": {"type": "layers", "diff_ids": [A, "sha256:0"]}}, "rootfs.diff_ids[1]: not a sha256"),
        (PLAIN | {"rootfs": {"type": "layers", "diff_ids": A}}, "rootfs.diff_ids: is a string, not a list"),
        (PLAIN | {"rootfs": {"type": "layers", "Diff_IDs": [A]}}, "rootfs.Diff_IDs: this field is spelt diff_ids"),
        (PLAIN | {"rootfs": []}, "rootfs: is a list"),
        (PLAIN | {"os": 1}, "os: is a number"),
        (PLAIN | {"Architecture": "arm"}, "Architecture: this field is spelt architecture"),
        (PLAIN | {"config": {"cmd": ["sh"], "Cmd": ["ls"]}}, "config has Cmd in two spellings"),
    ],
)
def test_bad_configs_are_refused_in_one_line(document, why):
    with pytest.raises(ManifestError) as caught:
        parsed(document)
    assert caught.value.what == "doc"
    assert caught.value.why.startswith(why)


@pytest.mark.parametrize("rootfs", [{}, None, {"type": "layers"}, {"type": "other"}, {"diff_ids": None}])
def test_without_diff_ids_there_are_no_layers(rootfs):
    assert parsed(PLAIN | {"rootfs": rootfs}).diff_ids == ()
    assert parsed({"os": "linux", "architecture": "amd64"}).diff_ids == ()


def test_the_type_of_rootfs_says_nothing():
    assert parsed(PLAIN | {"rootfs": {"type": "layers+base", "diff_ids": [A]}}).diff_ids == (A,)


@pytest.mark.parametrize(
    ("document", "left"),
    [
        ({"history": {}}, "history is not a list"),
        ({"created": 1}, "created is not a text"),
        ({"author": ["me"]}, "author is not a text"),
        ({"config": []}, "config is not an object"),
        ({"config": {"Env": ["A=1", "=x"]}}, "config.Env[1] has no variable name"),
        ({"config": {"Env": ["A=1\0"]}}, "config.Env[0] contains a NUL character"),
        ({"config": {"Env": {"A": "1"}}}, "config.Env is not a list"),
        ({"config": {"Volumes": ["/data"]}}, "config.Volumes is not an object"),
        ({"config": {"Volumes": {"data": {}}}}, "config.Volumes.data is not an absolute path below the root"),
        ({"config": {"Volumes": {"/../": {}}}}, "config.Volumes./../ is not an absolute path below the root"),
        ({"config": {"Labels": {"a": {}, "b": "c"}}}, "config.Labels.a is not a text"),
        ({"config": {"ExposedPorts": ["80"]}}, "config.ExposedPorts is not an object"),
        ({"config": {"StopSignal": 15}}, "config.StopSignal is not a text"),
        ({"config": {"Healthcheck": "true"}}, "config.Healthcheck is not an object"),
        ({"config": {"User": 0}}, "config.User is not a text"),
        ({"config": {"WorkingDir": {}}}, "config.WorkingDir is not a text"),
        ({"config": {"Cmd": {"a": 1}}}, "config.Cmd is not a list of words"),
        ({"config": {"Entrypoint": ["a\0b"]}}, "config.Entrypoint is not a list of words"),
    ],
)
def test_details_that_make_no_sense_are_left_out(document, left):
    config = parsed(PLAIN | document)
    assert config.left_out == (left,)
    key = left.split(" ")[0].removeprefix("config.")
    assert config.unreadable == ({key} if key in {"User", "WorkingDir", "Cmd", "Entrypoint"} else set())
    assert config.raw == json.dumps(PLAIN | document).encode()


@pytest.mark.parametrize(
    ("document", "name", "value"),
    [
        ({"Cmd": "sh -c true"}, "cmd", ("sh -c true",)),
        ({"Cmd": ["a", None]}, "cmd", ("a", "")),
        ({"cmd": ["sh"]}, "cmd", ("sh",)),
        ({"USER": "me"}, "user", "me"),
        ({"Labels": {"a": None}}, "labels", {"a": ""}),
        ({"Volumes": {"/data": None, "": {}}}, "volumes", ("/data",)),
        ({"ExposedPorts": {"": {}, "80": {}}}, "exposed_ports", ("80",)),
        ({"Healthcheck": {"Test": "x"}}, "healthcheck", {"Test": "x"}),
    ],
)
def test_details_are_read_as_others_read_them(document, name, value):
    config = with_process(document)
    assert getattr(config, name) == value
    assert config.left_out == ()


def test_history_is_read_as_far_as_it_can_be():
    history = [None, "x", {"created": 1, "created_by": "RUN", "empty_layer": "true"}, {"empty_layer": True}]
    found = parsed(PLAIN | {"history": history}).history
    assert found == (History(), History(), History(created_by="RUN"), History(empty_layer=True))


def test_what_is_left_out_is_not_all_told():
    config = with_process({"Env": ["=x"] * 5000})
    assert config.left_out[-1] == "and 4980 more"
    assert len(config.left_out) == 21


@pytest.mark.parametrize("rootfs", [None, {}, {"type": "x", "other": 1}])
def test_a_layer_on_top_of_none(rootfs):
    config = parsed(PLAIN | {"rootfs": rootfs, "history": "x"})
    after = ImageConfig.parse(config.with_layer(Digest(C), "touch", "2026-02-03T04:05:06Z"))
    assert (after.diff_ids, len(after.history)) == ((C,), 1)


MOST = BOUNDS.layers


def test_limits():
    assert len(parsed(PLAIN | {"rootfs": {"type": "layers", "diff_ids": [A] * MOST}}).diff_ids) == MOST
    with pytest.raises(LimitError, match="10001 diff IDs"):
        parsed(PLAIN | {"rootfs": {"type": "layers", "diff_ids": [A] * (MOST + 1)}})
    with pytest.raises(LimitError, match="40001 entries of history"):
        parsed(PLAIN | {"history": [{}] * 40_001})
    more = json.dumps(PLAIN | {"rootfs": {"type": "layers", "diff_ids": [A] * (MOST + 1)}, "history": [{}] * 40_001})
    assert len(ImageConfig.parse(more.encode(), "doc", STORED).diff_ids) == MOST + 1


# --- building -------------------------------------------------------------------------------------------------------


def test_build_reads_back():
    history = [History("2026-01-01T00:00:00Z", "COPY x /", "me", "note"), History(empty_layer=True)]
    process = {"Cmd": ["/bin/x"], "Env": ["A=b"]}
    platform = Platform("linux", "arm", "v7")
    data = ImageConfig.build(
        platform, [Digest(A), Digest(B)], history=history, created="2026-01-01T00:00:00Z", author="me", process=process
    )
    config = ImageConfig.parse(data)
    assert (config.platform, config.diff_ids, list(config.history)) == (platform, (A, B), history)
    assert (config.created, config.author) == ("2026-01-01T00:00:00Z", "me")
    assert (config.cmd, config.env) == (("/bin/x",), ("A=b",))


def test_build_without_anything():
    config = ImageConfig.parse(ImageConfig.build(Platform("linux", "amd64")))
    assert (config.diff_ids, config.history, config.created) == ((), (), "")


def test_with_layer_keeps_everything_it_does_not_know():
    before = json.loads(DOCKER)
    config = ImageConfig.parse(DOCKER.encode())
    after = json.loads(config.with_layer(Digest(C), "touch /x", "2026-02-03T04:05:06Z", "why"))
    assert after["rootfs"]["diff_ids"] == [A, C]
    entry = {"created": "2026-02-03T04:05:06Z", "created_by": "touch /x", "comment": "why"}
    assert after["history"] == [*before["history"], entry]
    assert after["created"] == "2026-02-03T04:05:06Z"
    changed = {"rootfs", "history", "created"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}


def test_with_layer_accounts_for_layers_without_history():
    config = ImageConfig.parse(parsed(PLAIN | {"history": [{"empty_layer": True}]}).with_layer(Digest(C), "x", "t"))
    assert [entry.empty_layer for entry in config.history] == [True, False, False, False]
    assert config.history[-1].created_by == "x"
    assert len([entry for entry in config.history if not entry.empty_layer]) == len(config.diff_ids)


def test_with_layer_onto_nothing():
    config = ImageConfig.parse(parsed({"rootfs": {"type": "layers", "diff_ids": None}}).with_layer(Digest(C), "x", "t"))
    assert config.diff_ids == (C,)
    assert config.history == (History("t", "x"),)


def test_with_layer_takes_a_command_line_that_is_not_unicode():
    config = ImageConfig.parse(parsed(PLAIN).with_layer(Digest(C), "touch \udc80", "t"))
    assert config.history[-1].created_by == "touch ?"


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=3))
def test_layers_stack_up(commands):
    config = parsed(PLAIN)
    for command in commands:
        config = ImageConfig.parse(config.with_layer(Digest(C), command, "t"))
    assert config.diff_ids == (A, B, *[C] * len(commands))
    assert [entry.created_by for entry in config.history[len(config.history) - len(commands) :]] == commands


KEYS = st.sampled_from(
    [
        "architecture",
        "os",
        "variant",
        "os.features",
        "created",
        "config",
        "rootfs",
        "history",
        "type",
        "diff_ids",
        "User",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "Labels",
        "Healthcheck",
        "ExposedPorts",
        "created_by",
        "cmd",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["layers", A, "A=b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, ANYTHING, max_size=8), st.booleans())
def test_any_document_is_read_or_refused(document, likely):
    if likely:
        document["rootfs"] = PLAIN["rootfs"]
    try:
        config = parsed(document)
    except ArstoreError:
        return
    assert all("=" in variable for variable in config.env)
    again = ImageConfig.parse(config.with_layer(Digest(C), "x", "t"))
    assert again.diff_ids == (*config.diff_ids, C)
    assert (again.env, again.cmd, again.labels) == (config.env, config.cmd, config.labels)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(data):
    with pytest.raises((ManifestError, LimitError)):
        ImageConfig.parse(data)
