"""Chain IDs, compared with independently computed hashes and with the specification's recursion."""

from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.oci.chain import chain_ids, child_chain_id

A, B, C = (Digest.of(letter) for letter in (b"a", b"b", b"c"))
DIFF_IDS = st.lists(st.binary(max_size=3).map(Digest.of), max_size=8)


def test_the_lowest_layers_chain_id_is_its_diff_id():
    assert chain_ids([A]) == (A,)
    assert chain_ids([]) == ()


def test_vector():
    # Made with sha256sum: of "a", of "b", then of `sha256:HEX sha256:HEX`, and again with that of "c".
    assert chain_ids([A, B, C]) == (
        "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676",
        "sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106",
    )


@given(DIFF_IDS, DIFF_IDS)
def test_a_common_beginning_has_common_chain_ids(below, above):
    whole = chain_ids([*below, *above])
    assert len(whole) == len(below) + len(above)
    assert whole[: len(below)] == chain_ids(below)


@given(DIFF_IDS)
def test_each_is_its_parents_child(diff_ids):
    parent = None
    for diff_id, chain_id in zip(diff_ids, chain_ids(diff_ids), strict=True):
        assert chain_id == child_chain_id(parent, diff_id)
        parent = chain_id


def test_order_and_repetition_matter():
    assert chain_ids([A, B])[-1] != chain_ids([B, A])[-1]
    assert len(set(chain_ids([A, A, A]))) == 3


def test_other_algorithms_of_diff_ids_still_give_sha256():
    wide = Digest.of(b"a", "sha512")
    assert chain_ids([wide])[0] == wide
    assert chain_ids([wide, B])[1].algorithm == "sha256"
