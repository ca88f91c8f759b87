from __future__ import annotations

import os
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import disks

from arstore.runtime.stdio.log_files import LogFile, LogLimit
from arstore.runtime.stdio.log_reader import LogReader, Wanted
from arstore.runtime.stdio.logs import LONGEST_LINE, LogWriter, log_time, rotated


class Log:
    """A log in a directory, with a writer for each stream."""

    def __init__(self, directory, limit=None):
        self.directory = str(directory)
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.file = LogFile(self.fd, limit)
        self.out = LogWriter(self.file.put, "stdout")
        self.err = LogWriter(self.file.put, "stderr")

    def close(self):
        self.out.finish()
        self.err.finish()
        self.file.close()
        os.close(self.fd)

    def read(self, **wanted):
        with LogReader(self.directory, Wanted(**wanted)) as reader:
            return list(reader.read())


def data(lines, stream):
    return b"".join(line.data for line in lines if line.stream == stream)


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 2), st.sampled_from([0, 1, 100, 40_000]))
def test_log_gives_every_byte_back(tmp_path_factory, pieces, longer, size):
    log = Log(tmp_path_factory.mktemp("log"), LogLimit(size, 1000))
    pieces = [*pieces, b"x" * (LONGEST_LINE * longer)]
    for number, piece in enumerate(pieces):
        (log.out, log.err)[number % 2].write(piece)
    log.close()
    lines = log.read()
    assert data(lines, "stdout") == b"".join(pieces[0::2])
    assert data(lines, "stderr") == b"".join(pieces[1::2])
    assert max((len(line.data) for line in lines), default=0) <= LONGEST_LINE + 1


@given(st.binary(max_size=300), st.integers(0, 5))
def test_damaged_log(tmp_path_factory, content, tail):
    directory = tmp_path_factory.mktemp("log")
    (directory / "log").write_bytes(content)
    for wanted in (Wanted(), Wanted(tail=tail)):
        with LogReader(str(directory), wanted) as reader:
            list(reader.read())


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2 * LONGEST_LINE + 9)), max_size=12),
    st.integers(0, 6),
    st.sampled_from([0, 300, 50_000]),
)
def test_tail_is_the_end_of_everything(tmp_path_factory, pieces, tail, size):
    """Long lines are in several parts, among those of the other stream: the last lines are whole all the same."""
    log = Log(tmp_path_factory.mktemp("log"), LogLimit(size, 1000))
    ends = []
    for number, (is_error, length) in enumerate(pieces):
        writer = log.err if is_error else log.out
        text = bytes([65 + number]) * length
        # The first half of this line is written before the other stream goes on.
        writer.write(text[: length // 2])
        (log.out if is_error else log.err).write(bytes([97 + number]) + b"\n")
        writer.write(text[length // 2 :] + b"\n")
    log.close()
    everything = log.read()
    for line in everything:
        if line.data.endswith(b"\n"):
            ends.append(line)
    found = log.read(tail=tail)
    assert [line for line in found if line.data.endswith(b"\n")] == ends[len(ends) - min(tail, len(ends)) :]
    for stream in ("stdout", "stderr"):
        whole = data(everything, stream).split(b"\n")[:-1]
        last = data(found, stream).split(b"\n")[:-1]
        assert last == whole[len(whole) - len(last) :]


def test_tail_reads_only_the_end(tmp_path, monkeypatch):
    log = Log(tmp_path, LogLimit(0, 1))
    log.out.write(b"".join(b"%d\n" % number for number in range(200_000)))
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read.append(size) or real(fd, size, offset))
    assert [line.data for line in log.read(tail=3)] == [b"199997\n", b"199998\n", b"199999\n"]
    assert sum(read) < 1 << 18
    assert log.read(tail=0) == []
    log.close()


def test_since_and_until(tmp_path):
    log = Log(tmp_path)
    lines = [b"%b stdout F %d\n" % (log_time(1000.5 * number).encode(), number) for number in range(5)]
    log.file.put(lines)
    assert [line.data for line in log.read(since=log_time(2001), until=log_time(3001.5))] == [b"2\n", b"3\n"]
    assert [line.data for line in log.read(since=log_time(2001.1))] == [b"3\n", b"4\n"]
    log.close()


def test_only_so_many_files_are_kept(tmp_path):
    log = Log(tmp_path, LogLimit(1000, 3))
    for number in range(200):
        log.out.write(b"line %d\n" % number)
    log.close()
    assert len(os.listdir(tmp_path)) == 3
    assert all(os.stat(tmp_path / name).st_size <= 1000 for name in os.listdir(tmp_path))
    lines = [line.data for line in log.read()]
    assert lines == [b"line %d\n" % number for number in range(200 - len(lines), 200)]
    assert len(lines) > 40


@pytest.mark.parametrize("tail", [None, 1000])
def test_a_follower_gets_every_line_once_while_files_are_replaced(tmp_path, tail):
    """The reader is stopped at random: it reads while the writer renames."""
    log = Log(tmp_path, LogLimit(2000, 1_000_000))
    count = 20_000
    log.out.write(b"0\n")

    def write() -> None:
        for number in range(1, count):
            (log.err if number % 7 == 0 else log.out).write(b"%d\n" % number)
        log.close()

    thread = threading.Thread(target=write)
    found = []
    with LogReader(str(tmp_path), Wanted(tail)) as reader:
        thread.start()
        while thread.is_alive():
            found += reader.read()
        found += reader.read()
        assert reader.missed == 0
    thread.join()
    assert [int(line.data) for line in found] == list(range(int(found[0].data), count))
    assert len(rotated(str(tmp_path))) > 100
    assert tail is not None or len(found) == count


def test_a_follower_that_is_too_slow_knows(tmp_path):
    log = Log(tmp_path, LogLimit(100, 2))
    log.out.write(b"0\n")
    with LogReader(str(tmp_path)) as reader:
        assert len(list(reader.read())) == 1
        for number in range(1, 100):
            log.out.write(b"%d\n" % number)
        found = [int(line.data) for line in reader.read()]
        assert reader.missed > 0
    gap = next(place for place in range(1, len(found)) if found[place] != found[place - 1] + 1)
    assert found == [*range(1, 1 + gap), *range(found[gap], 100)]
    log.close()


def test_a_log_that_ends_in_the_middle_of_a_line_goes_on(tmp_path):
    """The launcher was killed while it wrote."""
    (tmp_path / "log").write_bytes(log_time(1).encode() + b" stdout F one\n" + log_time(2).encode() + b" std")
    log = Log(tmp_path)
    log.out.write(b"three\n")
    assert [line.data for line in log.read()] == [b"one\n", b"three\n"]
    log.close()


def test_a_new_file_that_cannot_be_made(tmp_path, monkeypatch):
    log = Log(tmp_path, LogLimit(100, 3))
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    for number in range(20):
        log.out.write(b"%d\n" % number)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["log"]
    assert [int(line.data) for line in log.read()] == list(range(20))
    log.out.write(b"20\n")
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    log.close()


@pytest.mark.root
def test_full_disk(tmp_path):
    """Lines that do not fit are missing as a whole, the log says how much, and a follower is not confused."""
    with disks.attached(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as place:
        log = Log(place, LogLimit(0, 1))
        with LogReader(str(place)) as reader:
            for number in range(3000):
                log.out.write(b"%06d " % number + b"x" * 500 + b"\n")
            found = list(reader.read())
            assert log.file.lost > 0
            subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
            log.out.write(b"after\n")
            found += reader.read()
        log.close()
        assert found == log.read()
    numbers = [int(line.data[:6]) for line in found[:-1] if line.stream == "stdout"]
    assert numbers == list(range(len(numbers)))
    assert found[-1].data == b"after\n"
    # A short line may still fit where a long one does not.
    notices = [line.data for line in found if line.stream == "stderr"]
    assert all(text.endswith(b" bytes of output are missing here: No space left on device\n") for text in notices)
    assert sum(int(text.split()[1]) for text in notices) == (3000 - len(numbers)) * 508
