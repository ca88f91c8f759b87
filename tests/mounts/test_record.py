import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ConflictError, InvalidReferenceError, NotFoundError
from arstore.linux.process import boot_id
from arstore.mounts.record import MountRecord, check_id, held, published, read, record_ids, withdraw


def record(mount_id="web", **fields):
    values = {
        "id": mount_id,
        "target": f"/run/x/{mount_id}",
        "source": f"arstore:{mount_id}",
        "read_only": True,
        "boot": boot_id(),
        "namespace": 4026531841,
        "created": 12.5,
    }
    return MountRecord(**values | fields)


def test_what_is_published_is_read(tmp_path):
    wanted = record(target="/\udcff 流水线\n", image="sha256:" + "0" * 64, container="c", own_target=True)
    directory = str(tmp_path)
    with published(directory, wanted):
        assert read(directory, "web") == (wanted, True)
    assert read(directory, "web") == (wanted, False)
    with held(directory, "web") as found:
        assert found.record == wanted
        assert read(directory, "web") == (wanted, True)
    assert os.stat(tmp_path / "web.json").st_mode & 0o777 == 0o600


def test_nothing_is_left_but_the_record(tmp_path):
    with published(str(tmp_path), record()):
        assert os.listdir(tmp_path) == ["web.json"]
    with pytest.raises(ConflictError), published(str(tmp_path), record(target="/other")):
        pass
    assert os.listdir(tmp_path) == ["web.json"]
    assert read(str(tmp_path), "web")[0].target == "/run/x/web"


def test_withdraw_and_what_is_missing(tmp_path):
    directory = str(tmp_path)
    with published(directory, record()):
        pass
    withdraw(directory, "web")
    withdraw(directory, "web")
    with pytest.raises(NotFoundError):
        read(directory, "web")
    with pytest.raises(NotFoundError), held(directory, "web"):
        pass
    assert record_ids(directory) == []
    assert record_ids(directory + "/none") == []


def test_a_record_that_was_made_anew_while_its_lock_was_waited_for(tmp_path, monkeypatch):
    directory = str(tmp_path)
    with published(directory, record(target="/first")):
        pass
    real, calls = os.fstat, []

    def replaced(fd):
        if not calls:
            calls.append(fd)
            withdraw(directory, "web")
            with published(directory, record(target="/second")):
                pass
        return real(fd)

    monkeypatch.setattr(os, "fstat", replaced)
    with held(directory, "web") as found:
        assert found.record.target == "/second"


def test_a_target_that_is_no_path_is_not_believed(tmp_path):
    """Half of a surrogate pair: every call with it would fail, and the mount could not be unmounted."""
    (tmp_path / "web.json").write_text(json.dumps({**record()._asdict(), "target": "/\ud800"}))
    assert read(str(tmp_path), "web")[0].target == f"{tmp_path}/web"


def test_a_symlink_is_no_record(tmp_path):
    (tmp_path / "real").write_text(json.dumps({}))
    (tmp_path / "web.json").symlink_to("real")
    with pytest.raises(OSError, match="symbolic links"):
        read(str(tmp_path), "web")


def test_only_ids_are_listed(tmp_path):
    for name in ("b.json", "a1.json", ".x.json", "a1", "notes.txt", "-.json", ".json", "a b.json"):
        (tmp_path / name).touch()
    assert record_ids(str(tmp_path)) == ["a1", "b"]


@given(st.text(max_size=20))
def test_an_id_is_one_harmless_file_name(text):
    try:
        assert check_id(text) == text
    except InvalidReferenceError:
        return
    assert text == os.path.basename(text)
    assert text.isascii()
    assert text.isprintable()
    assert text[0] not in ".-"
    assert not text.endswith(".json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    ),
    st.sampled_from([None, *MountRecord.__slots__]),
)
def test_whatever_a_file_says_a_record_comes_of_it(tmp_path_factory, value, field):
    directory = tmp_path_factory.mktemp("records")
    fields = {name: getattr(record(), name) for name in MountRecord.__slots__}
    content = value if field is None else fields | {field: value}
    (directory / "web.json").write_text(json.dumps(content))
    found, busy = read(str(directory), "web")
    assert (found.id, busy) == ("web", False)
    assert isinstance(found.target, str)
    assert found.target.startswith("/")
    assert "\0" not in found.target
    assert found.source.startswith("arstore:")
    assert isinstance(found.created, float | int)
    assert isinstance(found.read_only, bool)
