"""registries.d: the section that counts for each setting, and refused files."""

import os

import pytest

from arstore.errors import RegistryConfigError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.configuration.places import Places
from arstore.registry.configuration.registries_d import default_base, parse_sections, read_registries_d

_ALL = """
default-docker:
  lookaside: file:///default
  use-sigstore-attachments: true
docker:
  example.org:
    lookaside: https://l.example/org
  example.org/team:
    lookaside-staging: file:///staging
  example.org/team/app:
    sigstore: https://l.example/old
    sigstore-staging: file:///old-staging
    use-sigstore-attachments: false
  example.org/team/app:1:
    lookaside: https://l.example/tag
  "*.wild.example":
    lookaside: https://l.example/wild
"""


@pytest.fixture
def places(tmp_path):
    return Places({"HOME": str(tmp_path / "home")}, 1000, str(tmp_path / "etc"), "/var")


def write(directory, **files):
    os.makedirs(directory, exist_ok=True)
    for name, text in files.items():
        with open(f"{directory}/{name}.yaml", "w") as file:
            file.write(text)


@pytest.mark.parametrize(
    ("name", "reading", "writing", "attachments"),
    [
        ("example.org/team/app:1", "https://l.example/tag", "https://l.example/tag", False),
        ("example.org/team/app:2", "https://l.example/old", "file:///old-staging", False),
        ("example.org/team/other:1", "https://l.example/org", "file:///staging", True),
        ("example.org/x:1", "https://l.example/org", "https://l.example/org", True),
        ("example.org:5000/x:1", "file:///default", "file:///default", True),
        ("a.wild.example/x:1", "https://l.example/wild", "https://l.example/wild", True),
        ("a.wild.example:5000/x:1", "https://l.example/wild", "https://l.example/wild", True),
        ("wild.example/x:1", "file:///default", "file:///default", True),
        ("busybox", "file:///default", "file:///default", True),
    ],
)
def test_each_setting_comes_from_the_most_specific_section_that_has_it(
    places, tmp_path, name, reading, writing, attachments
):
    write(tmp_path / "d", a=_ALL)
    found = read_registries_d(places, str(tmp_path / "d"))
    reference = DockerReference.parse(name)
    assert found.reading_base(reference, places) == reading
    assert found.writing_base(reference, places) == writing
    assert found.uses_attachments(reference) is attachments


def test_without_a_configuration(places, tmp_path):
    found = read_registries_d(places)
    reference = DockerReference.parse("example.org/a:1")
    assert found.sections == {}
    assert found.reading_base(reference, places) == f"file://{tmp_path}/home/.local/share/containers/sigstore"
    assert default_base(places._replace(uid=0)) == "file:///var/lib/containers/sigstore"
    assert not found.uses_attachments(reference)


def test_the_users_directory_stands_in_place_of_the_hosts(places, tmp_path):
    write(f"{tmp_path}/etc/containers/registries.d", a="docker: {example.org: {lookaside: file:///etc}}")
    assert "example.org" in read_registries_d(places).sections
    write(f"{tmp_path}/home/.config/containers/registries.d", a="docker: {h.example: {lookaside: file:///home}}")
    assert list(read_registries_d(places).sections) == ["h.example"]


def test_files_are_one_configuration(places, tmp_path):
    write(
        tmp_path / "d", a="docker: {a.example: {lookaside: file:///a}}", b="docker: {b.example: {lookaside: file:///b}}"
    )
    (tmp_path / "d" / "c.yml").write_text("not: [read")
    assert sorted(read_registries_d(places, str(tmp_path / "d")).sections) == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("docker: {a.example: {}}", "docker: {a.example: {}}", "a.example is also in .*a.yaml"),
        (
            "default-docker: {lookaside: 'file:///a'}",
            "default-docker: {lookaside: 'file:///b'}",
            "default-docker is",
        ),
    ],
)
def test_nothing_stands_twice(places, tmp_path, first, second, why):
    write(tmp_path / "d", a=first, b=second)
    with pytest.raises(RegistryConfigError, match=why):
        read_registries_d(places, str(tmp_path / "d"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "docker: []",
        "docker: {a: []}",
        "docker: {a: {lookaside: {}}}",
        "docker: {a: {lookaside: x, lookaside: y}}",
        "docker: {a: {}, a: {}}",
        "docker: {a: {use-sigstore-attachments: maybe}}",
        "docker: {'': {lookaside: x}}",
        "docker: {a: &x {lookaside: y}, b: {<<: *x}}",
        "docker: " + "{a: " * 50 + "}" * 50,
        "docker: {",
        "\0",
    ],
)
def test_files_that_are_not_taken(text):
    with pytest.raises(RegistryConfigError):
        parse_sections(text.encode(), "file.yaml")


@pytest.mark.parametrize("text", ["", "# nothing", "docker:", "default-docker:", "docker: {a: }", "unknown: {}"])
def test_files_that_say_nothing(text):
    assert all(section == ("", "", None) for section in parse_sections(text.encode(), "file.yaml").values())


def test_a_directory_in_place_of_a_file_is_refused(places, tmp_path):
    write(tmp_path / "d")
    (tmp_path / "d" / "a.yaml").mkdir()
    with pytest.raises(RegistryConfigError, match="directory"):
        read_registries_d(places, str(tmp_path / "d"))
