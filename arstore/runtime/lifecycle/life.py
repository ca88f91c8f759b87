"""The launcher's memory from one run of its container to the next: its restart policy, and the end of it.

A user who stops or kills a container ends it for good. `control` notifies the launcher by the signal `NO_MORE`, before
it does anything to the container's processes: so the launcher knows it when the run has ended, and no file is needed,
for which a full disk would have no room. A launcher without an active policy does not get the signal.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from arstore.builtin import contextmanager, suppress
from arstore.runtime.lifecycle.state import write_state
from arstore.runtime.spec.restart import Restart, pause_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.disk.owner import Owner
    from arstore.runtime.lifecycle.state import RunState, StateFile

NO_MORE = signal.SIGRTMIN + 6
"""The signal to a launcher that its container is not to be started again."""


ONE_MORE = signal.SIGRTMIN + 7
"""The signal to a launcher that its container is to be started again once, for `restart`."""
WHEN_UNHEALTHY = "when-unhealthy"
"""The policy of a container without one that is started again when it was unhealthy."""


class Life:
    """One container's life, as far as its launcher lives; *restarts* is how often it has been started again."""

    def __init__(self, policy: Restart | None = None, *, when_unhealthy: bool = False, removed: bool = False) -> None:
        """With *when_unhealthy*, a run that ended because it was unhealthy is followed by another one.

        The launcher of a container that is *removed* at its end starts it again when a user asks for a restart.
        """
        self.policy = policy or Restart()
        self._when_unhealthy = when_unhealthy
        self._removed = removed
        self._is_asked = False
        self.restarts = 0
        self.last: RunState | None = None
        """The state after the last run, if its policy starts the container again."""
        self.file: StateFile | None = None
        """The state's file of the last run, with space for one more state."""
        self.is_over = False
        """Whether a user has ended it."""
        self._pause = 0.0

    def end(self) -> None:
        """Do not start the container again."""
        self.is_over = True

    @property
    def is_single(self) -> bool:
        """Whether nothing can start the container again."""
        return not (self.policy.is_active or self._when_unhealthy or self._removed)

    def __str__(self) -> str:
        """Return the policy, as `state.json` has it."""
        return WHEN_UNHEALTHY if self._when_unhealthy and not self.policy.is_active else str(self.policy)

    def goes_on(self, status: int | None, is_unhealthy: Callable[[], bool]) -> bool:
        """Whether to start the container again after a run that ended with *status*."""
        if self._is_asked:
            return True
        if self.is_over:
            return False
        return self.policy.applies(status, self.restarts) or (self._when_unhealthy and is_unhealthy())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have `NO_MORE` end this life during the context; later ones are ignored.

        Python restricts signal handlers to the main thread; in other threads, nothing is done.
        """
        if self.is_single or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(NO_MORE, lambda _number, _frame: self.end())
        signal.signal(ONE_MORE, lambda _number, _frame: self._ask())
        try:
            yield
        finally:
            # The sender may have read the state before the last one, and the default action is to end the process.
            signal.signal(NO_MORE, signal.SIG_IGN)
            signal.signal(ONE_MORE, signal.SIG_IGN)

    def _ask(self) -> None:
        self._is_asked = True

    def pause(self) -> bool:
        """Wait before the next start; return False if the container is not to be started again."""
        if self._is_asked:
            self._is_asked = self.is_over = False
            return True
        last = self.last
        ran = 0.0
        if last is not None and last.started is not None and last.finished is not None:
            ran = last.finished - last.started
        self._pause = pause_after(ran, self._pause)
        # Blocked, so that the signal cannot come between the look at its effect and the wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, {NO_MORE})
        try:
            if not self.is_over and signal.sigtimedwait({NO_MORE}, self._pause) is not None:
                self.end()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {NO_MORE})
        self.restarts += not self.is_over
        return not self.is_over

    def conclude(self, error: str = "") -> None:
        """Record that the container is not started again, because of *error* if there is one. Raises OSError."""
        if self.last is None or self.file is None:
            return
        state = self.last._replace(status="failed" if error else "exited", error=error)
        self.last = None
        # The directory may have been removed in the meantime; then the state has no reader left.
        with suppress(FileNotFoundError):
            self.file.write(state)
        self.file.close()

    def adopt(self, directory: str, launcher: Owner) -> None:
        """Record that *launcher*, this process, attends to the container from now on. Raises OSError."""
        if self.last is not None:
            self.last = self.last._replace(launcher=launcher, detached=True)
            write_state(directory, self.last)

    def begin(self, file: StateFile) -> None:
        """Take note that the next run has begun; its state is in *file*, which has taken over the reserved space."""
        self.last = None
        self.file = file


def notify(launcher: int, number: int = NO_MORE) -> None:
    """Notify the launcher with this pidfd: do not start the container again, or (ONE_MORE) do it once."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(launcher, number)
