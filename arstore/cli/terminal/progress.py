"""Progress of long work on stderr: bars on a terminal, one line per layer, JSON, or nothing.

A JSON event is one object per line: `{"event": "start", "layer", "label", "size"}`, `{"event": "progress", "layer",
"done", "size"}` at most about ten times a second, and `{"event": "finish", "layer", "reused"}`; `layer` is the diff
ID, sizes are in bytes as stored. Events of a layer that needs much work also have `"steps"`, the steps taken so far. No
threads are used, because the store forks workers.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

from arstore.builtin import cast, contextmanager
from arstore.cli.terminal.output import human_size, json_text, printable
from arstore.store.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from arstore.cli.terminal.bars import Bars
    from arstore.store.progress import Progress

INTERVAL = 0.1
"""Seconds between two updates."""


@contextmanager
def shown_progress(kind: str, noun: str = "layer", stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield a Progress of the given *kind* (`auto`, `bar`, `lines`, `json`, `none`) on *stream*, or on stderr.

    *noun* is printed before each label in output for people.
    """
    stream = stream or sys.stderr
    if stream is None or kind == "none":
        yield NoProgress()
    elif kind == "json":
        yield JsonProgress(stream)
    elif kind == "bar" or (kind == "auto" and stream.isatty()):
        bar = BarProgress(stream, noun)
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield LineProgress(stream, noun)


class LineProgress:
    """One line for each layer when it is done."""

    def __init__(self, stream: TextIO, noun: str = "layer") -> None:
        self._stream = stream
        self._noun = noun
        self._layers: dict[str, tuple[str, int | None, float]] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        """See Progress."""
        self._layers[key] = (label, total, monotonic())

    def advance(self, key: str, count: int) -> None:
        """See Progress."""

    def worked(self, key: str, steps: int) -> None:
        """See Progress."""

    def finish(self, key: str, reused: bool = False) -> None:
        """See Progress."""
        if key not in self._layers:
            return
        label, total, began = self._layers.pop(key)
        seconds = max(monotonic() - began, 0.001)
        size = "" if total is None else f" {human_size(total)}"
        rate = "" if total is None or reused else f", {human_size(total / seconds)}/s"
        told = "reused" if reused else f"{seconds:.1f} s{rate}"
        _write_quietly(self._stream, f"{_named(self._noun, label)}{size}: {told}\n")


class JsonProgress:
    """One JSON object per line, for programs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._layers: dict[str, tuple[int, int | None, float]] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        """See Progress."""
        self._layers[key] = (0, total, 0.0)
        self._event("start", key, label=label, size=total)

    def advance(self, key: str, count: int) -> None:
        """See Progress."""
        done, total, told = self._layers.get(key, (0, None, 0.0))
        done += count
        now = monotonic()
        if now - told >= INTERVAL:
            told = now
            self._event("progress", key, done=done, size=total)
        self._layers[key] = (done, total, told)

    def worked(self, key: str, steps: int) -> None:
        """See Progress."""
        done, total, told = self._layers.get(key, (0, None, 0.0))
        now = monotonic()
        if now - told >= INTERVAL:
            self._event("progress", key, done=done, size=total, steps=steps)
            self._layers[key] = (done, total, now)

    def finish(self, key: str, reused: bool = False) -> None:
        """See Progress."""
        self._layers.pop(key, None)
        self._event("finish", key, reused=reused)

    def _event(self, name: str, key: str, **fields: object) -> None:
        _write_quietly(self._stream, json_text({"event": name, "layer": key, **fields}) + "\n")


class BarProgress:
    """Bars with bytes, rate and time left (`bars`), created when the first layer starts."""

    def __init__(self, stream: TextIO, noun: str = "layer") -> None:
        self._stream = stream
        self._noun = noun
        self._bars: Bars | None = None

    def start(self, key: str, label: str, total: int | None) -> None:
        """See Progress."""
        if self._bars is None:
            from arstore.cli.terminal.bars import Bars

            self._bars = Bars(cast("TextIO", Unfailing(self._stream)), self._noun)
        self._bars.start(key, _named(self._noun, label), total)

    def advance(self, key: str, count: int) -> None:
        """See Progress."""
        if self._bars is not None:
            self._bars.advance(key, count)

    def worked(self, key: str, steps: int) -> None:
        """See Progress."""
        if self._bars is not None:
            self._bars.worked(key, steps)

    def finish(self, key: str, reused: bool = False) -> None:
        """See Progress."""
        if self._bars is not None:
            self._bars.finish(key)

    def close(self) -> None:
        """Draw the last update and restore the terminal."""
        if self._bars is not None:
            self._bars.close()


def _named(noun: str, label: str) -> str:
    return printable(f"{noun} {label}".strip())


class Unfailing:
    """A stream that ignores failing writes: progress that cannot be shown must not stop the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write and flush."""
        _write_quietly(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` has flushed already."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _write_quietly(stream: TextIO, text: str) -> None:
    """Write and flush, ignoring errors: progress that cannot be shown must not stop the work."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        return
