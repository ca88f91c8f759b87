"""Maps of sparse files: GNU's old header form, the 1.0 form that precedes the data, and what every map must obey.

GNU tar manual, "Storing Sparse Files". A map is a list of `(offset, length)` runs in ascending order that hold data.
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
    """The runs and the real size that a header of type `S` announces; *next_block* gives its extension blocks.

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
    """The map of format 1.0: a decimal count, then offsets and lengths, one a line, in blocks that *next_block* gives.

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
    """Runs from offsets and lengths that alternate. Raises TarError when one is left over."""
    if len(numbers) % 2:
        raise TarError(what, "a sparse file's map ends with an offset that has no length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked(runs: Runs, size: int, stored: int, what: str) -> Runs:
    """*runs* without empty ones, known to be ascending, within *size*, and to hold *stored* bytes in all.

    Raises TarError.
    """
    position = total = 0
    for offset, length in runs:
        if offset < position or length < 0 or offset + length > size:
            raise TarError(what, "a sparse file's map is not in order, or goes past the file's end")
        position = offset + length
        total += length
    if total != stored:
        raise TarError(what, f"a sparse file's map is for {total} bytes, {stored} are stored")
    return [run for run in runs if run[1]]
