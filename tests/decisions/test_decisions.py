"""arstore's answers in the table of decisions, compared with the recorded answers of skopeo."""

import pytest
from support.programs import program

from decisions import cases, material, ours, places, report, skopeo
from decisions.__main__ import PAGE

TABLE = cases.cases(material.load())
GPG = pytest.mark.skipif(program("gpg") is None, reason="gpg is not installed")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    found = places.Places(tmp_path_factory.mktemp("decisions"), material.load())
    found.write()
    return found


@pytest.fixture(scope="module")
def theirs():
    return skopeo.load()


def marks(case):
    return [GPG] if b"signedBy" in case.policy else []


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.group}: {c.title}", marks=marks(c)) for c in TABLE])
def test_the_answer_is_skopeos_or_argued(case, here, theirs):
    answer, why = ours.ask(case, here)
    expected, said = theirs[case.group, case.title]
    assert "\n" not in why
    if case.argued:
        assert answer != expected, "the argument is for nothing"
    else:
        assert answer == expected, f"skopeo: {said}; arstore: {why}"


def test_the_table_is_large_and_whole(theirs):
    assert len(TABLE) >= 120
    assert {(case.group, case.title) for case in TABLE} == set(theirs)
    assert {answer for answer, _ in theirs.values()} == {skopeo.ACCEPTED, skopeo.REJECTED, skopeo.INVALID}


def test_skopeo_rejected_by_policy_and_by_nothing_else(theirs):
    odd = [
        key
        for key, (answer, said) in theirs.items()
        if answer == skopeo.REJECTED and "Source image rejected" not in said
    ]
    assert odd == []


def test_arstore_accepts_more_only_of_indexes_and_its_own_identity(here, theirs):
    more = []
    for case in TABLE:
        if case.argued and theirs[case.group, case.title][0] != skopeo.ACCEPTED:
            more.append(case.argued)
    assert set(more) == {cases.INDEX, cases.OWN}


@GPG
def test_the_page_is_current(here, theirs):
    mine = [ours.ask(case, here) for case in TABLE]
    assert PAGE.read_text() == report.page(TABLE, theirs, mine, material.load().versions), (
        "tools/trust decisions --write"
    )
