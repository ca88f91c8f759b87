"""Parts of `tools/run-comparison`: podman's help, normal forms, verdicts and the table. tests/system has real rows."""

from __future__ import annotations

from collections import Counter

import pytest
from runcompare import help as helps
from runcompare import known, normal, report, verdict
from runcompare.__main__ import BEGIN, END, PAGE
from runcompare.known import Known
from runcompare.programs import Left
from runcompare.row import Row
from runcompare.rows import options, table
from runcompare.running import Outcome, _files, furnish

STORED = helps.STORED.read_text()
THEMES = {
    "identity and groups",
    "workdir and HOME",
    "capabilities and seccomp",
    "mounts and volumes",
    "limits",
    "streams and signals",
    "statuses",
}
ROW = Row("theme", "name", "run --user app plain probe")
SCRUB = normal.Scrub("/place/ours", "run -v src:/mnt plain")


def test_the_help_lists_options_with_letters_and_values():
    found = {option.name: option for option in helps.options(STORED)}
    assert found["volume"] == helps.Option("volume", "v", "stringArray")
    assert found["read-only"] == helps.Option("read-only")
    assert found["detach-keys"].value == "[a-Z]"
    assert found["blkio-weight-device"].value == "DEVICE_NAME:WEIGHT"
    assert found["help"] == helps.Option("help")
    assert len(found) == sum(line.lstrip().startswith("-") for line in STORED.splitlines())
    assert helps.version(STORED) == "5.8.6"


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no options"), ("\nOptions:\n", "no options"), ("\nOptions:\n  ---odd  what\n", "not understood: ---odd")],
)
def test_a_help_that_cannot_be_read(text, why):
    with pytest.raises(ValueError, match=why):
        helps.options(text)


def test_every_option_has_a_row_that_uses_it():
    listed = helps.options(STORED)
    rows = {row.name: row for row in options.rows(listed)}
    for option in listed:
        assert option.name in rows[f"--{option.name}"].options
    names = {option.name for option in listed}
    assert set(options.WORDS) | set(options.SCRIPTS) == names
    assert not set(options.WORDS) & set(options.SCRIPTS)


def test_an_option_of_a_newer_podman_is_used_as_its_help_says():
    switch, valued = options.rows([helps.Option("newer"), helps.Option("newest", "", "string")])
    assert switch.script == "run --newer plain probe"
    assert valued.script == "run --newest 1 plain probe"


def test_themes_have_ten_rows_and_keys_are_unique():
    rows = table.every(helps.options(STORED))
    counted = Counter(row.theme for row in rows)
    assert all(counted[theme] >= 10 for theme in THEMES)
    assert not [key for key, count in Counter(row.key for row in rows).items() if count > 1]


def test_mounts_keep_what_matters():
    lines = [
        "346 264 0:54 / / rw,relatime - overlay arstore rw,lowerdir+=/,upperdir=/u",
        "348 346 0:74 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755",
        "349 346 0:75 /src /mnt ro,nodev,relatime shared:5 master:7 - ext4 /dev/vda rw,discard",
        "350 346 0:42 /hosts /etc/hosts rw,nosuid,nodev - tmpfs tmpfs rw,size=64k,mode=700",
        "352 351 0:37 /a/b /sys/fs/cgroup/pids ro,nosuid - cgroup cgroup rw,pids",
    ]
    assert normal.mounts(lines, SCRUB) == [
        "/ overlay",
        "/dev tmpfs nosuid,size=65536k,mode=755",
        "/mnt bind ro,nodev,shared,master",
        "/etc/hosts bind",
        "/sys/fs/cgroup/pids cgroup ro,nosuid",
    ]


def test_capabilities_and_groups_are_lines():
    lines = ["CapEff:\t0000000000000401", "CapInh:\t0000000000000000", "Groups:\t4 2000 ", "Umask:\t0022"]
    wanted = ["CapEff CHOWN", "CapEff NET_BIND_SERVICE", "CapInh none", "Groups 4", "Groups 2000", "Umask: 0022"]
    assert normal.process_status(lines) == wanted
    assert normal.process_status(["CapBnd: 0000020000000000", "Groups:"]) == ["CapBnd 41", "Groups none"]


def test_a_namespace_is_the_hosts_or_not():
    import os

    mine = os.readlink("/proc/self/ns/uts")
    wanted = ["uts host", "ipc private", "unknown private"]
    assert normal.namespaces([f"uts {mine}", "ipc ipc:[1]", "unknown x"]) == wanted


def test_sections_are_split_and_scrubbed():
    text = f"before\n== host name\n{'a' * 12}\n== status\nUmask:\t0022\n== directory\n/place/ours/row"
    found = normal.sections(text, SCRUB)
    assert found == {
        "stdout": ["before"],
        "host name": ["ID"],
        "process status": ["Umask: 0022"],
        "directory": ["(no newline)", "PLACE/row"],
    }
    assert normal.sections("b\na\n", SCRUB) == {"stdout": ["b", "a"]}


def test_messages_of_the_program_are_one_and_those_of_the_command_stay():
    for text in (
        "Error: statfs /x: no such file\nSee 'podman run --help'\n",
        'time="2026-01-01" level=warning msg="x"\nError: y\n',
        "arstore: x: y; z\n",
    ):
        assert normal.messages(text, SCRUB) == [normal.MESSAGE]
    assert normal.messages("touch: /place/ours/x\n\n", SCRUB) == ["touch: PLACE/x"]
    assert normal.messages("", SCRUB) == []


def test_containers_that_are_left():
    assert normal.container(Left("box1", "stopped", 3), "run --name box1") == "box1 exited 3"
    assert normal.container(Left("happy_name", "running", 0), "run -d") == "(unnamed) running 0"


def outcome(stderr="", **sections):
    return Outcome({name: list(lines) for name, lines in sections.items()}, stderr)


def test_equal_and_different():
    same = outcome(stdout=["a"], limits=["1", "2"])
    assert verdict.judge(ROW, same, same) == verdict.Verdict(ROW, verdict.EQUAL)
    other = outcome(stdout=["a"], limits=["1", "3"])
    found = verdict.judge(ROW, same, other)
    assert found.verdict == verdict.DIFFERENT
    assert found.why == "limits: ours 2; podman's 3"
    missing = verdict.judge(ROW, outcome(stdout=["a"]), same)
    assert missing.why == "limits: ours nothing; podman's 1 ⏎ 2"


def test_another_order_is_different():
    found = verdict.judge(ROW, outcome(stdout=["a", "b"]), outcome(stdout=["b", "a"]))
    assert found.why == "stdout: ours (the same lines in another order); podman's nothing"


def test_what_differs_without_options_is_counted_once():
    ours, theirs = outcome(environment=["A=1"]), outcome(environment=["A=2"])
    baseline = verdict.differences(ours, theirs)
    assert [one.verdict for one in verdict.judge_baseline(table.BASELINE, ours, theirs)] == [verdict.DIFFERENT]
    assert verdict.judge(ROW, ours, theirs, baseline).verdict == verdict.EQUAL
    more = outcome(environment=["A=2", "B=3"])
    assert verdict.judge(ROW, ours, more, baseline).why == "environment: ours nothing; podman's B=3"


def test_an_option_that_arstore_does_not_have():
    same = outcome(status=["125"])
    found = verdict.judge(ROW, same, same, (), ["pod", "user"])
    assert (found.verdict, found.why) == (verdict.MISSING, "--user")
    row = Row("statuses", "unknown option", "run --no-such-option plain true")
    assert verdict.judge(row, same, same, (), ["user"]).verdict == verdict.EQUAL


def test_the_options_in_our_help():
    text = "Usage: --not\n\nOptions:\n  -a, --one, --two X   Text --three\n  --four / --no\n                 --five\n"
    assert helps.ours(text) == {"one", "two", "four"}


def test_names_by_nature():
    text = (
        "== network\n127.0.0.1 box happy_name\n127.0.0.1 " + "a" * 12 + " silly_name\n== environment\ncontainer=oci\n"
    )
    found = normal.sections(text, SCRUB)
    assert found["network"] == ["127.0.0.1 ID", "127.0.0.1 box ID"]
    assert found["environment"] == ["container=ENGINE"]


def test_a_known_difference_is_explained_and_not_equal(monkeypatch):
    monkeypatch.setattr(known, "KNOWN", (Known("theme: .*", "stdout", "a.*", "b.*", "it is right"),))
    explained = verdict.judge(ROW, outcome(stdout=["a1"]), outcome(stdout=["b1"]))
    assert explained == verdict.Verdict(ROW, verdict.EXPLAINED, "it is right")
    assert verdict.ratio([explained]) == 0
    for ours, theirs in ((["c"], ["b1"]), (["a1"], ["c"])):
        assert verdict.judge(ROW, outcome(stdout=ours), outcome(stdout=theirs)).verdict == verdict.DIFFERENT
    both = verdict.judge(ROW, outcome(stdout=["a1"], status=["1"]), outcome(stdout=["b1"], status=["0"]))
    assert both.why == "status: ours 1; podman's 0"


def test_the_table():
    rows = [Row("theme", f"n{number} | x", "") for number in range(4)]
    kinds = (verdict.EQUAL, verdict.DIFFERENT, verdict.EXPLAINED, verdict.MISSING)
    verdicts = [verdict.Verdict(row, kind, "why") for row, kind in zip(rows, kinds, strict=True)]
    text = report.table(verdicts, ["arstore 1", "podman 2"])
    assert "4 rows: 1 equal, 1 explained, 1 different, 1 no such option; 25.0% are equal" in text
    assert "| theme | 4 | 1 | 1 | 1 | 1 |" in text
    assert "| `n1 \\| x` | different | why |" in text
    assert "No such option (1): `n3 \\| x`." in text
    assert "Equal (1): `n0 \\| x`." in text


def test_a_row_has_its_files(tmp_path):
    furnish(tmp_path / "row")
    (tmp_path / "row/more").touch()
    furnish(tmp_path / "row")
    assert not (tmp_path / "row/more").exists()
    assert (tmp_path / "row/owned").stat().st_uid == 1000


def test_the_page_has_every_row():
    page = PAGE.read_text()
    written = page.partition(BEGIN)[2].partition(END)[0]
    missing = [row.key for row in table.every(helps.options(STORED))[1:] if report._code(row.name) not in written]
    assert missing == []


def test_files_are_listed_without_numbers_of_processes(tmp_path):
    (tmp_path / "pid").write_text("4711\n")
    (tmp_path / "text").write_text("a\n")
    (tmp_path / "pid").chmod(0o600)
    listed = _files(tmp_path)
    assert [line.partition(" ")[2].partition(" ")[2].partition(" ")[2] for line in listed] == ["(a number)", "'a\\n'"]
    assert listed[0].startswith("pid 100600 0:0")


def test_a_page_is_read_and_extended():
    rows = [Row("theme", name, "run") for name in ("a | b", "c", "d.", "e", "f <x>")]
    first = [
        verdict.Verdict(Row("without options", "mounts", "run"), verdict.EQUAL),
        verdict.Verdict(rows[0], verdict.EQUAL),
        verdict.Verdict(rows[2], verdict.EQUAL),
        verdict.Verdict(rows[3], verdict.MISSING),
        verdict.Verdict(rows[4], verdict.EXPLAINED, "a | b < c"),
    ]
    page = report.table(first, ["one"])
    assert list(report.read(page, rows)) == first[1:]
    new = [first[0], verdict.Verdict(rows[1], verdict.EQUAL), verdict.Verdict(rows[4], verdict.DIFFERENT, "why")]
    found = report.merged(report.read(page, rows), new, [Row("without options", "probe", "run"), *rows])
    assert found == [first[0], first[1], new[1], first[2], first[3], new[2]]
