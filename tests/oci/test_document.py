"""Strict JSON and typed fields: everything else must be an error of arstore, in one line."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, LimitError, ManifestError
from arstore.oci import document
from arstore.oci.document import BOUNDS, STORED, Bounds, Fields, encode, parse, parse_list, parse_value, shown

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def outcome(call):
    """The result of *call* and None, or None and the ArstoreError that it raises; other errors pass through."""
    try:
        return call(), None
    except ArstoreError as error:
        return None, error


@given(JSON)
def test_what_is_encoded_parses_to_the_same(value):
    assert parse_value(encode(value), "x") == value


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_equal_objects_have_equal_bytes_whatever_their_order(members):
    backwards = dict(reversed(members.items()))
    assert encode(members) == encode(backwards)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0dD8e1-. \n', max_size=60).map(str.encode))
def test_any_bytes_parse_as_the_standard_library_does_or_are_refused(data):
    value, error = outcome(lambda: parse_value(data, "x"))
    if error is None:
        assert value == json.loads(data)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\xff"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":1,"a":1}', "'a' twice"),
        (b'{"a":1,"\\u0061":2}', "'a' twice"),
        (b'{"x":{"a":1,"b":2,"a":3}}', "'a' twice"),
        (b'{"a\\n":1,"a\\n":1}', r"'a\n' twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":1', "not valid JSON at line 1"),
        (b'{"a":1}x', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (b"[1]", "is a list"),
        (b"null", "is null"),
        (b"true", "is a boolean"),
        (b'"x"', "is a string"),
    ],
)
def test_what_is_no_strict_object_is_refused(data, why):
    with pytest.raises(ManifestError) as caught:
        parse(data, "doc")
    assert caught.value.what == "doc"
    assert why in caught.value.why


def test_surrogate_pairs_are_characters():
    assert parse(b'{"a":"\\ud83d\\ude00"}', "x") == {"a": "\U0001f600"}


def test_size_limit_is_exact():
    assert parse(b'{"a":1}', "x", Bounds(document=7)) == {"a": 1}
    with pytest.raises(LimitError, match="has 8 bytes"):
        parse(b'{"a":12}', "x", Bounds(document=7))


@pytest.mark.parametrize("bounds", [BOUNDS, STORED, Bounds(json_depth=5)])
def test_nesting_limit_is_exact(bounds):
    most = bounds.json_depth
    deepest = b"[" * most + b"]" * most
    assert encode(parse_list(deepest, "x", bounds)) == deepest
    with pytest.raises(LimitError, match=f"nested {most + 1} levels"):
        parse_list(b"[" + deepest + b"]", "x", bounds)


def test_what_a_bound_is_raised_with_is_said_where_there_is_something():
    for remedy, hint in ("", ""), ("give {}=VALUE", "give json-depth=VALUE"):
        with pytest.raises(LimitError) as caught:
            parse_list(b"[[[]]]", "x", Bounds(json_depth=2, remedy=remedy))
        assert caught.value.hint == hint


def test_what_a_store_holds_has_bounds_above_the_usual():
    assert all(stored > usual for stored, usual in zip(STORED[:-1], BOUNDS[:-1], strict=True))


@pytest.mark.parametrize("brackets", [b'"[[[[["', b'"\\"[[[[["', b'"\\\\", "[[[["', b'"]]]", "{{{"'])
def test_brackets_inside_strings_do_not_nest(brackets):
    data = b"[" + b",".join([brackets] * 40) + b"]"
    assert parse_list(data, "x") == json.loads(data)


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'[{"":'])
def test_a_document_of_brackets_is_refused_before_it_is_decoded(unit):
    with pytest.raises(LimitError, match="levels deep"):
        parse(unit * 100_000, "x")


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64])
@given(st.text('"\\[]{}a,é', max_size=60))
def test_brackets_are_counted_whatever_is_looked_at_together(window, text):
    """Windows may cut strings but not escapes: the count must be that of the whole."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        whole = list(document._brackets(data))
        patch.setattr(document, "_WINDOW", window)
        assert b"".join(document._brackets(data)) == b"".join(whole)
        for depth in (1, 2, 4):
            bounds = Bounds(json_depth=depth)
            cut = outcome(lambda bounds=bounds: document._check_nesting(data, "x", bounds))
            patch.undo()
            assert str(cut) == str(outcome(lambda bounds=bounds: document._check_nesting(data, "x", bounds)))
            patch.setattr(document, "_WINDOW", window)


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        # Each string was an object at the same time as all others: 200 MB.
        (b'"ab",', 40),
        (b'"\xf0\x9f\x98\x80b",', 110),
        (b"[],", 40),
        (b'"a-word-that-is-as-long-as-it-must-be",', 130),
    ],
)
def test_a_large_document_takes_a_few_times_its_bytes(unit, most):
    data = b"[" + unit * ((16 << 20) // len(unit) - 1) + b"0]"
    tracemalloc.start()
    try:
        outcome(lambda: parse_list(data, "x", BOUNDS.of_listing()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most << 20


def test_an_unterminated_string_of_escapes_takes_linear_time():
    began = time.monotonic()
    with pytest.raises(ManifestError):
        parse(b'{"' + b'\\"' * 500_000, "x")
    assert time.monotonic() - began < 5


def test_lists_are_taken_where_asked_for():
    assert parse_list(b'[{"Config":"x"}]', "x") == [{"Config": "x"}]
    with pytest.raises(ManifestError, match="is an object, not a JSON list"):
        parse_list(b"{}", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain/名:1", "plain/名:1"),
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udc80", r"\udc80"),
        ("‮", r"\u202e"),
        ("a" * 200, "a" * 119 + "…"),
    ],
)
def test_shown_text_is_printable_and_short(text, expected):
    assert shown(text) == expected


# --- fields ---------------------------------------------------------------------------------------------------------

METHODS = {
    "string": lambda f: f.string("k"),
    "integer": lambda f: f.integer("k", default=0),
    "strings": lambda f: f.strings("k"),
    "keys": lambda f: f.keys("k"),
    "child": lambda f: f.child("k"),
    "objects": lambda f: f.objects("k"),
    "digests": lambda f: f.digests("k"),
}
EMPTY = {
    "string": "",
    "integer": 0,
    "strings": (),
    "keys": (),
    "child": None,
    "objects": [],
    "digests": (),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("members", [{}, {"k": None}])
def test_absent_and_null_are_empty(name, members):
    assert METHODS[name](Fields(members, "doc")) == EMPTY[name]


@pytest.mark.parametrize("name", METHODS)
@given(value=JSON)
def test_a_member_is_typed_or_refused_by_its_path(name, value):
    _, error = outcome(lambda: METHODS[name](Fields({"k": value}, "doc", "at[1]")))
    assert error is None or error.what == "doc"
    assert error is None or error.why.startswith("at[1].k")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("string", 1, "p.k: is a number, not a string"),
        ("string", "a\0b", "p.k: contains a NUL character"),
        ("integer", True, "p.k: is a boolean, not a whole number"),
        ("integer", 1.0, "p.k: is a number, not a whole number"),
        ("integer", "1", "p.k: is a string, not a whole number"),
        ("integer", -1, "p.k: is negative or too large"),
        ("integer", 2**63, "p.k: is negative or too large"),
        ("strings", "abc", "p.k: is a string, not a list"),
        ("strings", ["a", 1], "p.k[1]: is a number, not a string"),
        ("strings", [None], "p.k[0]: is null, not a string"),
        ("keys", {"/a\0": {}}, "p.k./a\\x00: contains a NUL character"),
        ("objects", [{}, None], "p.k[1]: is null, not an object"),
        ("digests", ["sha256:00"], "p.k[0]: not a sha256 or sha512 digest"),
    ],
)
def test_errors_name_the_field(name, value, why):
    with pytest.raises(ManifestError) as caught:
        METHODS[name](Fields({"k": value}, "doc", "p"))
    assert caught.value.why == why


def test_sizes_up_to_the_largest_are_taken():
    assert Fields({"k": 2**63 - 1}, "x").integer("k") == 2**63 - 1
    assert Fields({"k": 0}, "x").integer("k") == 0


def test_required_members():
    for members in ({}, {"k": None}, {"k": ""}):
        with pytest.raises(ManifestError, match="k: is missing"):
            Fields(members, "x").string("k", required=True)
    with pytest.raises(ManifestError, match="k: is missing"):
        Fields({}, "x").integer("k")
    with pytest.raises(ManifestError, match="k: is missing"):
        Fields({}, "x").digest("k")


@pytest.mark.parametrize("key", ["Layers", "LAYERS", "layerſ"])
def test_other_letter_case_of_a_known_field_is_refused(key):
    with pytest.raises(ManifestError, match="spelt layers"):
        Fields({"layers": [], key: []}, "x").refuse_variants(("layers", "config"))


def test_unknown_fields_are_left_alone():
    Fields({"layers": [], "layered": 1, "x": 2}, "x").refuse_variants(("layers", "config"))
