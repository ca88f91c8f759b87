"""Bars for long work on a terminal, never more of them than it has rows.

As long as they fit there is one for each layer. When there are more layers, one bar is for all together, some are for
the largest that are being read, and a line counts the others. On a narrow terminal a row has fewer columns, and is
always one line. The terminal may change its size at any moment. No threads are used, because the store forks workers.
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
"""Seconds between two pictures."""

FEW = 8
"""Layers that have a row of their own when not all have one."""

_KEPT = 64
"""Layers that are remembered when they are done, the largest: the last picture shows some of them."""

_NARROW, _TINY = 80, 40
"""Columns of a terminal below which a row has fewer columns."""


class _Layer:
    """A layer that was started: bytes as stored, None where nobody knows how many."""

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
        """The label, and how much work the layer has asked for so far when that is worth telling."""
        millions = self.steps // 1_000_000
        return f"{self.label}, {millions} M steps" if millions and not self.finished else self.label

    @property
    def weight(self) -> tuple[bool, int]:
        """What goes first when not all have a row: those that are being read, the largest first."""
        return (self.done > 0 or self.total is None, self.total or 0)


class Bars:
    """The picture on *stream*; *noun* is what one layer is called, in the plural with an s. See `progress`."""

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
        """Work on a layer begins; one that was begun before begins anew."""
        self._drop_bar(key)
        self._begun += 1
        self._active[key] = _Layer(self._begun, label, total)
        self._count += 1
        self._all.total = (self._all.total or 0) + (total or 0)
        self._draw_now_and_then()

    def advance(self, key: str, count: int) -> None:
        """Some more bytes of it are done."""
        layer = self._active.get(key)
        if layer is not None:
            layer.done += count
            self._all.done += count if layer.total is not None else 0
            self._draw_now_and_then()

    def worked(self, key: str, steps: int) -> None:
        """So many steps have been taken for it."""
        layer = self._active.get(key)
        if layer is not None:
            layer.steps = steps
            self._draw_now_and_then()

    def finish(self, key: str) -> None:
        """A layer is done."""
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
        """Leave the last picture, and the terminal as it was."""
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
        """So many layers: those that have a row keep it until they are done and another needs it."""
        kept = [layer for layer in self._rows if not layer.finished][:count]
        waiting = (layer for layer in self._active.values() if layer not in kept)
        new = nlargest(count - len(kept), waiting, key=lambda layer: layer.weight)
        ended = nlargest(count - len(kept) - len(new), self._ended, key=lambda layer: layer.total or 0)
        return [*ended, *kept, *new]


def _console(stream: TextIO) -> Console:
    """The terminal, of the size that it has: what LINES and COLUMNS say counts only where it does not tell."""
    environment = dict(os.environ)
    with suppress(OSError, ValueError):
        if all(os.get_terminal_size(stream.fileno())):
            for name in ("LINES", "COLUMNS"):
                environment.pop(name, None)
    return Console(file=stream, _environ=environment)


class _Picture(Progress):
    """Rows on a terminal, each of them one line."""

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
        """Show these tasks, and the line *more* below them where it says something."""
        self._order, self._more = order, more
        self.columns = _columns(self.console.width)
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The rows (see rich's class)."""
        by_id = {task.id: task for task in self.tasks}
        rows: list[RenderableType] = [self.make_tasks_table([by_id[one] for one in self._order if one in by_id])]
        if self._more:
            rows.append(Text(self._more, no_wrap=True, overflow="ellipsis"))
        yield Group(*rows)


def _columns(width: int) -> tuple[ProgressColumn, ...]:
    """The columns of a row on a terminal of this *width*."""

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
