"""The Chinese pages are the English ones: the same sections, code, figures and links, and one word for one thing."""

from __future__ import annotations

import re

import pytest
from support import markdown

PAIRS = {"README.md": "README.zh-CN.md", "docs/pipelines.md": "docs/pipelines.zh-CN.md"}
NAMES = [name.rpartition("/")[2] for name in (*PAIRS, *PAIRS.values())]
RULES = "docs/design/translation.md"


def pairs():
    """Each section of each pair, with its name."""
    for english, chinese in PAIRS.items():
        both = [markdown.sections(markdown.page(name)) for name in (english, chinese)]
        for number, (one, other) in enumerate(zip(*both, strict=False)):
            yield pytest.param(one, other, id=f"{english.rpartition('/')[2]}-{number}")


def glossary() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) ?\|$", markdown.page(RULES), re.MULTILINE)
    return [(english, chinese, wrong.strip()) for english, chinese, wrong in rows[1:] if "---" not in english]


def with_english_names(links):
    return [link.partition("#")[0].replace(".zh-CN.md", ".md") for link in links]


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items())
def test_the_headings_are_the_same(english, chinese):
    levels = [[section.level for section in markdown.sections(markdown.page(name))] for name in (english, chinese)]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 5


@pytest.mark.parametrize(("english", "chinese"), [*pairs()])
def test_a_section_has_the_same_code_figures_and_links(english, chinese):
    assert chinese.fences == english.fences
    assert chinese.code == english.code
    assert chinese.numbers == english.numbers
    assert with_english_names(chinese.links) == with_english_names(english.links)
    assert chinese.shape == english.shape


@pytest.mark.parametrize(("english", "chinese"), [*pairs()])
def test_one_word_is_used_for_one_thing(english, chinese):
    text = english.words.lower().replace("\n", " ")
    for word, translated, wrong in glossary():
        if re.search(rf"\b{word}(s|ies)?\b", text):
            assert translated in chinese.words, f"{word} is {translated}"
        assert not (wrong and wrong in chinese.words), f"{word} is {translated}, not {wrong}"


@pytest.mark.parametrize("name", PAIRS.values())
def test_what_is_to_be_read_is_chinese(name):
    for section in markdown.sections(markdown.page(name)):
        for paragraph in re.split(r"\n\s*\n", section.prose):
            plain = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)|[^A-Za-z一-鿿]", " ", paragraph)
            latin, han = len(plain.split()), len(re.findall("[一-鿿]", plain))
            assert latin < 8 or han, paragraph


@pytest.mark.parametrize("name", PAIRS.values())
def test_chinese_is_set_as_it_is_printed(name):
    """A paragraph is one line; spaces between the scripts; fullwidth punctuation behind Chinese characters."""
    for section in markdown.sections(markdown.page(name)):
        text = section.prose
        assert re.findall("[一-鿿，。；：、]\n[一-鿿]", text) == []
        assert re.findall("[一-鿿][A-Za-z0-9`]|[A-Za-z0-9`][一-鿿]", text) == []
        assert re.findall("[一-鿿][,.;:?!](?![A-Za-z])", text) == []


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items())
def test_each_page_leads_to_the_other(english, chinese):
    for one, other in ((english, chinese), (chinese, english)):
        head = markdown.page(one).splitlines()[2]
        assert f"]({other.rpartition('/')[2]})" in head


def test_the_rules_name_all_pairs():
    listed = markdown.page(RULES)
    assert all(f"`{name}`" in listed for pair in PAIRS.items() for name in pair)
    found = {str(path.relative_to(markdown.REPOSITORY)) for path in markdown.pages() if ".zh-CN." in path.name}
    assert found == set(PAIRS.values())
    assert len(glossary()) > 15
