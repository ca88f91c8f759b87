"""Manual pages: one for every command, with the texts of its help; man(1) and mandoc(1) read them without a warning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from arstore.cli.group import Group
from arstore.cli.main import cli
from arstore.cli.manual import roff
from arstore.cli.manual.pages import pages
from arstore.cli.parameter import Option

SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"]


def below(group, path=("arstore",)):
    yield path, group
    for name in group.entries():
        found = group.find(name)
        if isinstance(found, Group):
            yield from below(found, (*path, name))
        else:
            yield (*path, name), found


COMMANDS = {"-".join(path): found for path, found in below(cli)}
PAGES = dict(pages(cli))


def shown(text):
    """The text of a page, without what formats it."""
    text = re.sub(r"\\f[BIR]|\\&", "", re.sub(r"\.SH |\.BR ", "", text))
    for source, character in (
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(ga", "`"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\e", "\\"),
    ):
        text = text.replace(source, character)
    return " ".join(text.split())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A directory with the pages, as files."""
    place = tmp_path_factory.mktemp("man") / "man1"
    place.mkdir()
    for name, text in PAGES.items():
        (place / name).write_text(text)
    return place


def test_every_command_has_a_page():
    assert PAGES.keys() == {f"{name}.1" for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_is_whole(name):
    page, declared = PAGES[f"{name}.1"], COMMANDS[name]
    titles = [title.strip('"') for title in re.findall(r"^\.SH (.*)$", page, re.MULTILINE)]
    assert [title for title in titles if title not in {"COMMANDS", "NOTES"}] == SECTIONS
    text = shown(page)
    for one in declared.parameters:
        if isinstance(one, Option):
            assert all(word in text for word in one.names)
            assert " ".join(one.words["help"].replace("`", "").split()) in text
    for paragraph in re.split(r"\n\s*\n|\n", declared.help):
        plain = " ".join(paragraph.replace("`", "").split())
        assert plain.startswith(("Example", "\b")) or plain in text, plain


def test_statuses_are_those_of_the_help():
    for name, declared in COMMANDS.items():
        text = PAGES[f"{name}.1"]
        for status, _ in [] if isinstance(declared, Group) else declared.own_statuses():
            assert f"\\fB{status}\\fR" in text
    assert "\\fB33\\fR" in PAGES["arstore.1"]


def test_the_configuration_file_is_on_every_page():
    for page in PAGES.values():
        text = shown(page)
        assert "/etc/arstore/config.toml, ~/.config/arstore/config.toml" in text.partition(" FILES ")[2]
        assert "ARSTORE_CONFIG" in text.partition(" ENVIRONMENT ")[2]


def test_commands_that_pages_refer_to_exist():
    for page in PAGES.values():
        assert {
            one.replace("\\-", "-") for one in re.findall(r"(arstore[a-z\\-]*)(?:\\fR)?\(1\)", page)
        } <= COMMANDS.keys()


def test_special_characters_are_escaped():
    assert roff.filled(".x 'y' -z \\ ~ ^ `a -b`") == "\\&.x \\(aqy\\(aq \\-z \\e \\(ti \\(ha \\fBa \\-b\\fR\n"
    assert roff.example(["'x'"]) == ".EX\n\\(aqx\\(aq\n.EE\n"
    assert roff.paragraphs("\b\na:  b\n.c") == ".nf\na:  b\n\\&.c\n.fi\n"
    assert roff.section("EXIT STATUS", "x\n") == '.SH "EXIT STATUS"\nx\n'
    assert roff.section("FILES", "") == ""


def test_mandoc_finds_nothing(written):
    if shutil.which("mandoc") is None:
        pytest.skip("not installed: mandoc")
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "all", *sorted(written.iterdir())], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_man_warns_of_nothing(written):
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("not installed: man-db, groff")
    environment = {**os.environ, "MANROFFSEQ": "", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    for path in sorted(written.iterdir()):
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", path],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == "", path
        assert "SEE ALSO" in done.stdout


def test_whatis_reads_the_names(written):
    if shutil.which("lexgrog") is None:
        pytest.skip("not installed: man-db")
    done = subprocess.run(["lexgrog", *sorted(written.iterdir())], capture_output=True, text=True, check=True)
    for name, declared in COMMANDS.items():
        short = declared.help.strip().splitlines()[0].rstrip(".")
        assert f'"{name} - {short[:1].lower()}{short[1:]}"' in done.stdout


def test_the_command_writes_them(storeless, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    place = tmp_path / "share" / "man"
    paths = storeless.ok("man", place).text.splitlines()
    assert paths == [str(place / "man1" / name) for name in PAGES]
    assert storeless.ok("man", "--json", place).json == {"pages": paths}
    for name, text in pages(cli):
        path = place / "man1" / name
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o644
    assert '"1970-01-02"' in (place / "man1" / "arstore.1").read_text()
    assert len(list((place / "man1").iterdir())) == len(PAGES)
    assert not storeless.root.exists()


def test_a_place_that_cannot_be_used_is_an_error(storeless, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    result = storeless("man", tmp_path / "file")
    assert (result.status, len(result.err.splitlines())) == (3, 1)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "x")
    assert storeless("man", tmp_path / "man").status == 2
    assert not (tmp_path / "man").exists()
