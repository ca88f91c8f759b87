"""Progress bars on a terminal, never more than it has rows.

If they fit, each layer has a bar. If not, one bar is for all layers together, some are for the largest layers in
progress, and a line counts the others. A row is always one line; on a narrow terminal it has fewer columns. The
terminal may be resized at any time. No threads are used, because the store forks workers.
"""

from __future__ import annotations

import os
from contextlib import suppress
from heapq import nlargest
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType
    from rich.progress import ProgressColumn, TaskID

INTERVAL = 0.1
"""Seconds between two updates."""

FEW = 8
"""Most layers that have their own row if not all have one."""

_KEPT = 64
"""Finished layers that are remembered, the largest ones: the last update shows some of them."""

_NARROW, _TINY = 80, 40
"""Widths of a terminal, in characters, below which a row has fewer columns."""


class _Layer:
    """A layer in progress: its size in bytes as stored, None if unknown."""

    __slots__ = ("done", "finished", "label", "number", "steps", "total")

    def __init__(self, number: int, label: str, total: int | None) -> None:
        self.number = number
        self.label = label
        self.total = total
        self.done = 0
        self.steps = 0
        self.finished = False

    @property
    def description(self) -> str:
        """Return the label and, once they reach a million, the steps of work so far."""
        millions = self.steps // 1_000_000
        return f"{self.label}, {millions} M steps" if millions and not self.finished else self.label

    @property
    def weight(self) -> tuple[bool, int]:
        """Return the sort key for rows: layers in progress first, then by size."""
        return (self.done > 0 or self.total is None, self.total or 0)


class Bars:
    """The bars on *stream*; *noun* is the word for one layer, whose plural has an s. See `progress`."""

    def __init__(self, stream: TextIO, noun: str) -> None:
        self._noun = noun
        self._active: dict[str, _Layer] = {}
        self._ended: list[_Layer] = []
        self._rows: list[_Layer] = []
        self._all = _Layer(0, "", 0)
        self._begun = self._count = self._ended_count = 0
        self._tasks: dict[_Layer, TaskID] = {}
        self._drawn = 0.0
        self._picture = _Picture(_console(stream))
        self._picture.start()

    def start(self, key: str, label: str, total: int | None) -> None:
        """Start a layer; a layer that was started before is restarted."""
        self._drop_bar(key)
        self._begun += 1
        self._active[key] = _Layer(self._begun, label, total)
        self._count += 1
        self._all.total = (self._all.total or 0) + (total or 0)
        self._draw_now_and_then()

    def advance(self, key: str, count: int) -> None:
        """Add *count* bytes to the layer."""
        layer = self._active.get(key)
        if layer is not None:
            layer.done += count
            self._all.done += count if layer.total is not None else 0
            self._draw_now_and_then()

    def worked(self, key: str, steps: int) -> None:
        """Set the steps of the layer."""
        layer = self._active.get(key)
        if layer is not None:
            layer.steps = steps
            self._draw_now_and_then()

    def finish(self, key: str) -> None:
        """Finish a layer."""
        layer = self._active.pop(key, None)
        if layer is None:
            return
        if layer.total is not None:
            self._all.done += layer.total - layer.done
            layer.done = layer.total
        layer.finished = True
        self._ended_count += 1
        self._ended.append(layer)
        if len(self._ended) > 2 * _KEPT:
            self._ended = nlargest(_KEPT, self._ended, key=lambda one: one.total or 0)
        self._draw_now_and_then()

    def close(self) -> None:
        """Draw the last update and restore the terminal."""
        self._rows = []
        self._draw()
        self._picture.stop()

    def _drop_bar(self, key: str) -> None:
        layer = self._active.pop(key, None)
        if layer is not None:
            self._count -= 1
            self._all.total = (self._all.total or 0) - (layer.total or 0)
            self._all.done -= layer.done if layer.total is not None else 0

    def _draw_now_and_then(self) -> None:
        now = monotonic()
        if now - self._drawn >= INTERVAL:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        room = max(self._picture.console.height - 1, 1)
        folded = self._count > room or len(self._ended) + len(self._active) < self._count
        rows = self._chosen(min(FEW, max(room - 2, 0))) if folded else [*self._ended, *self._active.values()]
        self._rows = sorted(rows, key=lambda layer: layer.number)
        shown = [*([self._all] if folded else []), *self._rows]
        for layer in [layer for layer in self._tasks if layer not in shown]:
            self._picture.remove_task(self._tasks.pop(layer))
        self._all.label = f"{self._count} {self._noun}s".strip()
        for layer in shown:
            if layer not in self._tasks:
                self._tasks[layer] = self._picture.add_task(layer.description, total=layer.total, completed=layer.done)
            completed = 1 if layer.finished and layer.total is None else layer.done
            total = 1 if layer.finished and layer.total is None else layer.total
            self._picture.update(self._tasks[layer], description=layer.description, total=total, completed=completed)
        others = self._count - len(self._rows)
        done = self._ended_count - sum(layer.finished for layer in self._rows)
        more = f"and {others} more, {done} done" if folded and len(shown) < room else ""
        self._picture.draw([self._tasks[layer] for layer in shown], more)

    def _chosen(self, count: int) -> list[_Layer]:
        """Return *count* layers to show. A layer keeps its row until it is done and another layer needs the row."""
        kept = [layer for layer in self._rows if not layer.finished][:count]
        waiting = (layer for layer in self._active.values() if layer not in kept)
        new = nlargest(count - len(kept), waiting, key=lambda layer: layer.weight)
        ended = nlargest(count - len(kept) - len(new), self._ended, key=lambda layer: layer.total or 0)
        return [*ended, *kept, *new]


def _console(stream: TextIO) -> Console:
    """Return the console with the terminal's size; LINES and COLUMNS count only if that is unknown."""
    environment = dict(os.environ)
    with suppress(OSError, ValueError):
        if all(os.get_terminal_size(stream.fileno())):
            for name in ("LINES", "COLUMNS"):
                environment.pop(name, None)
    return Console(file=stream, _environ=environment)


class _Picture(Progress):
    """Rows on a terminal, one line each."""

    def __init__(self, console: Console) -> None:
        self._order: list[TaskID] = []
        self._more = ""
        super().__init__(
            *_columns(console.width),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def draw(self, order: list[TaskID], more: str) -> None:
        """Show these tasks, and the line *more* below them unless it is empty."""
        self._order, self._more = order, more
        self.columns = _columns(self.console.width)
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the rows (see rich's class)."""
        by_id = {task.id: task for task in self.tasks}
        rows: list[RenderableType] = [self.make_tasks_table([by_id[one] for one in self._order if one in by_id])]
        if self._more:
            rows.append(Text(self._more, no_wrap=True, overflow="ellipsis"))
        yield Group(*rows)


def _columns(width: int) -> tuple[ProgressColumn, ...]:
    """Return the columns of a row on a terminal with this *width*."""

    def one_line() -> Column:
        return Column(no_wrap=True, overflow="ellipsis")

    name = TextColumn("{task.description}", markup=False, table_column=one_line())
    if width < _TINY:
        return name, TaskProgressColumn(table_column=one_line())
    if width < _NARROW:
        return name, BarColumn(10, table_column=one_line()), DownloadColumn(table_column=one_line())
    return (
        name,
        BarColumn(max(min(width - 60, 40), 10), table_column=one_line()),
        DownloadColumn(table_column=one_line()),
        TransferSpeedColumn(table_column=one_line()),
        TimeRemainingColumn(table_column=one_line()),
    )
