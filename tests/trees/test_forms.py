"""The list of tree formats: their declarations match the store's format, and each other."""

from __future__ import annotations

import itertools

import pytest
from support import stores

from arstore.trees import forms
from arstore.trees.forms import DIRECTORY, EROFS, FALLBACK, FORMS, MERGED, SINGLE, USER, Properties, form_of, properties


def test_names_and_files_are_those_of_the_format_on_disk():
    assert {form.name: form.files for form in (DIRECTORY, USER, SINGLE, EROFS, MERGED)} == {
        "directory": ("fs", "listing"),
        "user-directory": ("files-user",),
        "single-directory": ("files-single",),
        "erofs": ("layer.erofs", "layer.tar"),
        "merged": ("merged.erofs",),
    }


def test_every_form_can_be_had(tmp_path):
    with stores.opened(tmp_path) as store:
        mapped = {form.name: form for form in (USER, SINGLE)}
        assert {name: form.properties for name, form in store.forms.items()} == FORMS | mapped


def test_the_fallback_is_what_is_left_when_nothing_can_be_mounted():
    assert FALLBACK.extracts
    assert FORMS[FALLBACK.name] is FALLBACK
    assert FALLBACK.rank == max(form.rank for form in FORMS.values())


def test_a_form_has_a_rank_and_files_of_its_own():
    assert len({form.rank for form in FORMS.values()}) == len(FORMS)
    for one, other in itertools.combinations([*FORMS.values(), MERGED], 2):
        assert set(one.files).isdisjoint(other.files)
    assert forms.AUTO not in FORMS


@pytest.mark.parametrize("form", list(FORMS.values()), ids=lambda form: form.name)
def test_what_is_declared_fits_together(form):
    assert form.files
    assert not (form.extracts and form.survives_copy)
    assert not (form.extracts and form.keeps_tar)
    assert not form.mergeable or form.keeps_tar
    assert (forms.TAR in form.files) == form.keeps_tar


def test_nothing_is_assumed_of_a_form_that_is_not_known():
    assert properties("unheard-of") == Properties("unheard-of", (), False, False, False, False)
    assert properties("erofs") is EROFS
    assert properties("merged") is MERGED
    assert not properties("unheard-of").holds(["fs", "layer.tar", ""])


@pytest.mark.parametrize(
    ("names", "form"),
    [
        (["layer.erofs", "layer.tar", "needs.json"], EROFS),
        (["layer.erofs"], EROFS),
        (["layer.tar"], EROFS),
        (["fs", "listing"], DIRECTORY),
        (["fs"], DIRECTORY),
        (["listing"], DIRECTORY),
        (["merged.erofs"], MERGED),
        (["merged.erofs", "layer.tar", "fs"], MERGED),
        (["fs", "layer.tar"], EROFS),
        ([], FALLBACK),
        (["needs.json", "unheard-of", "fs2"], FALLBACK),
    ],
)
def test_a_directory_tells_its_form(names, form):
    assert form_of(names) is form
