"""Maps of sparse files: GNU's old header form, the 1.0 form that precedes the data, and the checks for every map.

GNU tar manual, "Storing Sparse Files". A map is a list of `(offset, length)` runs of data in ascending order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError, TarError
from arstore.tar.header import number
from arstore.tar.pax import decimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.tar.limits import Limits

Runs = list[tuple[int, int]]

_PAIR = 24
_HEADER_PAIRS = slice(386, 482)
_HEADER_EXTENDED = 482
_HEADER_REAL_SIZE = slice(483, 495)
_EXTENSION_PAIRS = slice(0, 504)
_EXTENSION_EXTENDED = 504


def old_gnu(block: bytes, next_block: Callable[[], bytes], limits: Limits, what: str) -> tuple[Runs, int]:
    """Return the runs and the real size in a header of type `S`; *next_block* returns its extension blocks.

    Raises TarError, LimitError.
    """
    runs: Runs = []
    _add_pairs(runs, block[_HEADER_PAIRS], what)
    size = number(block[_HEADER_REAL_SIZE], what, "real size")
    extended = block[_HEADER_EXTENDED]
    while extended:
        block = next_block()
        _add_pairs(runs, block[_EXTENSION_PAIRS], what)
        extended = block[_EXTENSION_EXTENDED]
        if len(runs) > limits.sparse_runs:
            raise LimitError(what, f"a sparse file has more than {limits.sparse_runs} runs")
    return runs, size


def _add_pairs(runs: Runs, pairs: bytes, what: str) -> None:
    for start in range(0, len(pairs), _PAIR):
        # An unused pair is all zeros; GNU tar stops at the first.
        if pairs[start] == 0:
            return
        offset = number(pairs[start : start + 12], what, "sparse offset")
        length = number(pairs[start + 12 : start + 24], what, "sparse length")
        runs.append((offset, length))


def map_in_data(next_block: Callable[[], bytes], limits: Limits, what: str) -> Runs:
    """Read the map of format 1.0: a decimal count, then offsets and lengths, one per line, in blocks of *next_block*.

    Raises TarError, LimitError.
    """
    text = next_block()
    head, newline, _ = text.partition(b"\n")
    if not newline:
        raise TarError(what, "a sparse file's map has no count")
    count = decimal(head, what, "sparse map")
    if count > limits.sparse_runs:
        raise LimitError(what, f"a sparse file has more than {limits.sparse_runs} runs")
    blocks, lines = [text], text.count(b"\n")
    while lines <= 2 * count:
        block = next_block()
        if b"\n" not in block:
            raise TarError(what, "a sparse file's map has a line without an end")
        blocks.append(block)
        lines += block.count(b"\n")
    numbers = b"".join(blocks).split(b"\n", 2 * count + 1)[1 : 2 * count + 1]
    return pairs_of([decimal(digits, what, "sparse map") for digits in numbers], what)


def pairs_of(numbers: list[int], what: str) -> Runs:
    """Return runs from alternating offsets and lengths. Raises TarError for an offset without a length."""
    if len(numbers) % 2:
        raise TarError(what, "a sparse file's map ends with an offset that has no length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked(runs: Runs, size: int, stored: int, what: str) -> Runs:
    """Return *runs* without empty ones, after checking that they ascend, end within *size*, and sum up to *stored*.

    Raises TarError.
    """
    position = total = 0
    for offset, length in runs:
        if offset < position or length < 0 or offset + length > size:
            raise TarError(what, "a sparse file's map is not in order, or exceeds the file's size")
        position = offset + length
        total += length
    if total != stored:
        raise TarError(what, f"a sparse file's map is for {total} bytes, but {stored} are stored")
    return [run for run in runs if run[1]]
