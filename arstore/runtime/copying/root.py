"""The root of a container's file system as an open directory, with everything that the container has mounted in it.

A running container's root is that of its mount namespace. A child joins the namespace, opens `/` and passes the
descriptor back. It does nothing else there: in the container's root, even importing a module would run the container's
code (CVE-2019-14271). For a container that is not running, a child mounts the overlay and the volumes in a private
namespace, and passes that back too, because the mounts end with the namespace. All copying is then done in this
process's own namespaces, relative to the descriptor.
"""

from __future__ import annotations

import array
import errno
import os
import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from arstore.disk.owner import Owner
from arstore.errors import HostError, InUseError, NotFoundError
from arstore.linux.isolation.namespace import CLONE_NEWNS, setns, unshare
from arstore.linux.mounting.mount import (
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    OPEN_TREE_CLONE,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
)
from arstore.runtime.inspection.about import About
from arstore.runtime.lifecycle.containers import startable_root
from arstore.runtime.lifecycle.state import known_status
from arstore.runtime.spec.image_files import RootDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.runtime.inspection.about import Mounted
    from arstore.store.containers import Container
    from arstore.store.store import Store

_MOST_DESCRIPTORS = 2
_ERRNO = 4


@contextmanager
def opened_root(store: Store, container: Container) -> Iterator[int]:
    """Open the root of *container*'s file system (O_PATH) during the context. The store's graph is closed.

    Raises InUseError if the container is just being started, or is mounted; HostError if its root cannot be entered;
    and the errors of `startable_root`.
    """
    state = known_status(container.path)
    if state is not None and state.status in {"running", "paused"}:
        state.require_reachable()
        if state.process is None:
            raise NotFoundError(f"container {container.id}", "the container has ended")
        store.release()
        descriptors = [_of_process(state.process, container.id)]
    else:
        descriptors = []
    with ExitStack() as stack:
        if not descriptors:
            mounts = About(store, container).mounts
            mount_rootfs = stack.enter_context(startable_root(store, container))
            place = os.path.join(container.path, "bundle")
            descriptors = _received(lambda: _mounted(place, mount_rootfs, mounts), container.id)
        for fd in descriptors:
            stack.callback(os.close, fd)
        yield descriptors[0]


def _of_process(process: Owner, container_id: str) -> int:
    gone = NotFoundError(f"container {container_id}", "the container has ended")
    try:
        namespace = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise gone from None
    try:
        # Checked after opening: the pid may have been reused before.
        if not process.runs_here():
            raise gone
        (fd,) = _received(lambda: _entered(namespace), container_id)
        return fd
    finally:
        os.close(namespace)


def _entered(namespace: int) -> list[int]:
    """In a child: join the mount namespace, and open its root."""
    setns(namespace, CLONE_NEWNS)
    return [os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]


def _mounted(place: str, mount_rootfs: Callable[[str], None], mounts: list[Mounted]) -> list[int]:
    """In a child: mount the root file system and the volumes in a new namespace; open the root and the namespace."""
    unshare(CLONE_NEWNS)
    # Slave, not private: unmounting on the host must reach us. Our own mounts do not reach the host.
    mount("none", "/", flags=MS_REC | MS_SLAVE)
    os.makedirs(place, mode=0o700, exist_ok=True)
    mount_rootfs(place)
    for one in sorted(mounts, key=lambda each: each.destination.count("/")):
        if one.kind != "tmpfs" and one.source:
            _mount_volume(place, one)
    root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return [root, os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)]


def _mount_volume(place: str, one: Mounted) -> None:
    """Mount a volume as at the start of the container. A place that is not there is made; a file's place is not."""
    try:
        source = open_tree(one.source, flags=OPEN_TREE_CLONE | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW)
    except FileNotFoundError:
        return
    with RootDirectory(place) as root:
        if os.path.isdir(one.source):
            root.make_directories(one.destination, (0, 0))
        with suppress(FileNotFoundError):
            target = root.open(one.destination, os.O_PATH)
            attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (MOUNT_ATTR_RDONLY if one.read_only else 0)
            mount_setattr(source, add=attributes, propagation=MS_PRIVATE, recursive=True)
            move_mount(source, target, one.destination)
            os.close(target)
    os.close(source)


def _received(work: Callable[[], list[int]], container_id: str) -> list[int]:
    """Do *work* in a child, which passes the descriptors that it returns. Raises OSError, HostError."""
    ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with childs:
            pid = os.fork()
            if pid == 0:
                _be_child(work, childs)
        descriptors = array.array("i")
        try:
            size = socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize)
            data, ancillary, _, _ = ours.recvmsg(_ERRNO, size, socket.MSG_CMSG_CLOEXEC)
        finally:
            os.waitpid(pid, 0)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    if descriptors:
        return list(descriptors)
    number = int.from_bytes(data, "little") if data else 0
    why = os.strerror(number) if number else "the process that enters it was killed"
    if number == errno.EBUSY:
        raise InUseError(f"container {container_id}", "its root file system is in use")
    raise HostError(f"container {container_id}", f"its root file system cannot be entered: {why}")


def _be_child(work: Callable[[], list[int]], channel: socket.socket) -> NoReturn:
    """Send the descriptors, or the number of an error. Nothing is imported from here on."""
    number = errno.EIO
    try:
        found = array.array("i", work())
        channel.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, found)])
        number = 0
    except OSError as error:
        number = error.errno or errno.EIO
    finally:
        if number:
            with suppress(OSError):
                channel.send(number.to_bytes(_ERRNO, "little"))
        os._exit(0)
