from hypothesis import given
from hypothesis import strategies as st

from arstore.runtime.stdio.logs import LONGEST_LINE, LogWriter, read_log_lines


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 2))
def test_log_gives_every_byte_back(tmp_path_factory, pieces, longer):
    directory = tmp_path_factory.mktemp("log")
    pieces = [*pieces, b"x" * (LONGEST_LINE * longer)]
    with open(directory / "log", "ab", buffering=0) as file:
        writers = [LogWriter(file.fileno(), name) for name in ("stdout", "stderr")]
        for number, piece in enumerate(pieces):
            writers[number % 2].write(piece)
        for writer in writers:
            writer.finish()
    lines = list(read_log_lines(str(directory)))
    assert b"".join(line.data for line in lines if line.stream == "stdout") == b"".join(pieces[0::2])
    assert b"".join(line.data for line in lines if line.stream == "stderr") == b"".join(pieces[1::2])
    assert max((len(line.data) for line in lines), default=0) <= LONGEST_LINE + 1


@given(st.binary(max_size=300))
def test_damaged_log(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("log")
    (directory / "log").write_bytes(data)
    list(read_log_lines(str(directory)))


def test_log_is_followed_to_its_end(tmp_path):
    assert list(read_log_lines(str(tmp_path))) == []
    path = tmp_path / "log"
    path.write_bytes(b"T stdout F one\nT std")
    looks = [lambda: True, lambda: path.write_bytes(path.read_bytes() + b"err P two\n") and False]
    found = list(read_log_lines(str(tmp_path), wait=lambda: bool(looks.pop(0)())))
    assert [(line.stream, line.data) for line in found] == [("stdout", b"one\n"), ("stderr", b"two")]
