"""`ps` and `inspect` of containers, with filters and formats, on a real runtime."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ps", "--filter", "nope=1"), "the filters are ancestor, before"),
        (("ps", "--filter", "status=nope"), "use one of created"),
        (("ps", "--filter", "exited=x"), "not an exit status"),
        (("ps", "--filter", "before=nope"), "no such container"),
        (("ps", "--sort", "nope"), "use one of command"),
        (("ps", "--format", "{{"), "--format: character 1"),
        (("ps", "--format", "{.a"), "--format: character 4"),
        (("ps", "-q", "--format", "{{.ID}}"), "exclude each other"),
        (("ps", "--json", "--format", "{{.ID}}"), "--json excludes"),
        (("ps", "--last", "1", "--latest"), "exclude each other"),
        (("inspect", "--json", "--format", "json", "x"), "exclude each other"),
        (("inspect", "--raw", "x", "y"), "for one image"),
        (("inspect", "--type", "volumes", "x"), "invalid value"),
        (("stats", "--all", "x"), "exclude each other"),
        (("images", "--filter", "nope=1"), "the filters are after"),
        (("images", "--filter", "dangling=perhaps"), "neither true nor false"),
        (("images", "--filter", "before=nope:1"), "--filter before=nope:1"),
        (("images", "--sort", "names"), "use one of created"),
    ],
)
def test_wrong_usage(arstore, words, text):
    result = arstore(*words)
    assert result.status == 2
    assert text in result.err


@pytest.mark.parametrize("words", [("inspect", "no"), ("container", "inspect", "no"), ("top", "no"), ("stats", "no")])
def test_what_does_not_exist(arstore, words):
    result = arstore(*words)
    assert result.status == 3
    assert "no such" in result.err


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestContainers:
    def lines(self, busy, *words):
        return busy.ok("ps", *words).text.splitlines()

    def test_filters(self, busy, tmp_path):
        for words, found in (
            (("-q",), ["web"]),
            (("-aq",), ["made", "web"]),
            (("-aq", "--filter", "status=created"), ["made"]),
            (("-q", "--filter", "status=created"), ["made"]),
            (("-aq", "--filter", "status=created", "--filter", "status=running"), ["made", "web"]),
            (("-aq", "--filter", "label=x=y"), ["web"]),
            (("-aq", "--filter", "label=from"), ["made", "web"]),
            (("-aq", "--filter", "label=from", "--filter", "label=x"), ["web"]),
            (("-aq", "--filter", "label!=x"), ["made"]),
            (("-aq", "--filter", "name=^w"), ["web"]),
            (("-aq", "--filter", "id=mad"), ["made"]),
            (("-aq", "--filter", "ancestor=box:1"), ["made", "web"]),
            (("-aq", "--filter", "ancestor=other:1"), []),
            (("-aq", "--filter", "before=made"), ["web"]),
            (("-aq", "--filter", "since=web"), ["made"]),
            (("-aq", "--filter", "until=24h"), []),
            (("-aq", "--filter", f"volume={tmp_path}/vol"), ["web"]),
            (("-aq", "--filter", "volume=/mnt"), ["web"]),
            (("-aq", "--filter", "network=none"), ["made", "web"]),
            (("-aq", "--filter", "network=host"), []),
            (("-aq", "--filter", "health=none"), ["made", "web"]),
            (("-aq", "--filter", "health=healthy"), []),
            (("-aq", "--filter", "pod=x"), []),
            (("-aq", "--filter", "restart-policy=on-failure"), ["web"]),
            (("-aq", "--filter", "command=true"), ["made"]),
            (("-q", "--latest"), ["made"]),
            (("-q", "--last", "2"), ["made", "web"]),
            (("-aq", "--sort", "created"), ["web", "made"]),
            (("-aq", "--sort", "status"), ["made", "web"]),
        ):
            assert self.lines(busy, *words) == found, words
        busy.ok("stop", "-t", "0", "web")
        assert self.lines(busy, "-q", "--filter", "exited=137") == ["web"]
        assert self.lines(busy, "-q", "--filter", "status=exited") == ["web"]

    def test_formats(self, busy):
        row = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Status}} {{.Labels}} {{.Mounts}} {{.Command}}"
        made, web = self.lines(busy, "-a", "--format", row)
        assert made == "made made box:1 created Created map[from:image] [] true"
        assert web.startswith("web web box:1 running Up ")
        assert web.endswith(" map[from:image x:y] [/mnt] sleep 1000")
        assert self.lines(busy, "-a", "--format", "{.id} {.names[0]} {.running}") == ["made made false", "web web true"]
        table = self.lines(busy, "-a", "--format", r"table {{.ID}}\t{{.Names}}\t{{.State}}")
        assert [line.split() for line in table] == [
            ["CONTAINER", "ID", "NAMES", "STATE"],
            ["made", "made", "created"],
            ["web", "web", "running"],
        ]
        assert len(self.lines(busy, "--noheading")) == 1
        assert len(self.lines(busy, "--noheading", "--format", "table {{.ID}}")) == 1
        assert self.lines(busy, "-s")[0].split()[-1] == "SIZE"
        [entry] = busy.ok("ps", "--format", "json").json
        assert (entry["Id"], entry["Names"], entry["State"]) == ("web", ["web"], "running")
        assert entry["Command"] == ["sleep", "1000"]
        result = busy("ps", "--format", "{{.Nope}}")
        assert result.status == 2
        assert "no field Nope" in result.err

    def test_inspect(self, busy, tmp_path):
        document = busy.ok("inspect", "web").json
        assert document["kind"] == "container"
        assert document["config"]["env"][-2:] == ["B=image", "A=1"]
        assert document["labels"] == {"from": "image", "x": "y"}
        assert document["limits"]["memory"] == 64 << 20
        assert document["mounts"][0]["source"] == f"{tmp_path}/vol"
        assert document["config"]["restart"] == "on-failure:3"
        assert document == busy.ok("container", "inspect", "web").json
        [one] = busy.ok("inspect", "--format", "json", "web").json
        assert one["State"]["Running"] is True
        assert one["State"]["Pid"] == document["pid"]
        assert one["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        assert one["HostConfig"]["NetworkMode"] == "none"
        assert one["Mounts"][0]["Destination"] == "/mnt"
        assert one["Config"]["Cmd"] == ["sleep", "1000"]
        text = busy.ok("inspect", "-f", "{{.State.Status}} {{.Config.User}} {{.State.ExitCode}}", "web", "made").text
        assert text.splitlines() == ["running  0", "created user 0"]
        assert busy.ok("inspect", "-f", "{.limits.memory} {.mounts[*].destination}", "web").text == "67108864 /mnt\n"
        assert [each["id"] for each in busy.ok("inspect", "web", "made", "--json").json] == ["web", "made"]

    def test_a_name_may_mean_an_image_or_a_container(self, busy):
        busy.ok("tag", "box:1", "web:latest")
        assert busy.ok("inspect", "web").json["kind"] == "container"
        assert busy.ok("inspect", "--type", "image", "web").json["names"] == ["box:1", "web:latest"]
        assert busy.ok("inspect", "web:latest").json["names"] == ["box:1", "web:latest"]
        assert busy("inspect", "--type", "container", "box:1").status == 3
        digest = busy.ok("inspect", "box:1").json["digest"]
        assert busy.ok("inspect", "-f", "{{.Id}} {{.Config.Labels.from}}", "box:1").text == f"{digest[7:]} image\n"

    def test_what_is_known_of_one_without_a_request(self, busy):
        busy.ok("mount", "--rw", "--name", "bare", "box:1")
        document = busy.ok("inspect", "bare").json
        assert (document["status"], document["can_be_started"]) == ("created", False)
        assert busy.ok("inspect", "-f", "{{.State.Running}}{{.Config.Image}}", "bare").text == "falsebox:1\n"
        busy.ok("umount", "--all")

    def test_images(self, busy):
        busy.ok("tag", "box:1", "localhost/team/app:2")
        lines = busy.ok("images", "--format", "{{.Repository}} {{.Tag}} {{.Containers}}").text.splitlines()
        assert sorted(lines) == ["box 1 2", "localhost/team/app 2 2"]
        short = busy.ok("images", "-q").text.split()
        assert len(short) == 1
        assert busy.ok("inspect", short[0]).json["names"] == ["box:1", "localhost/team/app:2"]
        for words, count in (
            (("team/app",), 1),
            (("app:*",), 1),
            (("other",), 0),
            (("--filter", "reference=b?x"), 1),
            (("--filter", "reference!=box"), 0),
            (("--filter", "dangling=true"), 0),
            (("--filter", "dangling=false"), 1),
            (("--filter", "label=from=image"), 1),
            (("--filter", "label!=from"), 0),
            (("--filter", "containers=true"), 1),
            (("--filter", "intermediate=true"), 0),
            (("--filter", "manifest=true"), 0),
            (("--filter", "readonly=true"), 0),
            (("--filter", "since=box:1"), 0),
            (("--filter", "until=2020-01-01"), 0),
            (("--filter", f"id={short[0][:4]}"), 1),
            (("--filter", "digest=sha256:0000"), 0),
        ):
            assert len(busy.ok("images", "--json", *words).json) == count, words
        [entry] = busy.ok("images", "--format", "json").json
        assert entry["Names"] == ["box:1", "localhost/team/app:2"]
        assert len(busy.ok("images", "-n").text.splitlines()) == 2
        assert json.loads(busy.ok("images", "--format", "{{json .Names}}").text.splitlines()[0]) == entry["Names"]
