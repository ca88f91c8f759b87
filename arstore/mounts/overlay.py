"""Overlays: the description of a mount as a value, and the functions that make the mount.

A description owns no resources. The caller owns the descriptors of the lower layers; once the overlay is mounted, the
kernel keeps what it needs. Layers are passed one per call (`lowerdir+`), by descriptor where the kernel takes that.
Older kernels get mount(2), whose one page of options is enough because each layer is named by a number only.

The caller guarantees: at least two lowers, or an upper; no directory twice; layers opened in the mount namespace of the
overlay (after unshare(2), not before); and an upper that is mounted once at a time, because with index=off the kernel
only warns. Not here: which layers an image has, and the records of mounts.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING

from arstore.errors import MountError, MountForbiddenError, from_os_error, reason
from arstore.linux import features
from arstore.linux.isolation.namespace import in_directory
from arstore.linux.isolation.user_namespace import is_initial, owns_mounts
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_below, mount_id_of, read_mounts
from arstore.mounts.merge_plan import MAX_LOWERS as MAX_LOWERS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from arstore.trees.format import LowerDirectory

FORBIDDEN_HINT = "use `arstore unpack IMAGE DIR`, which needs no mount"

_NO_UPPER = frozenset({"overlay", "ecryptfs", "nfs", "nfs4", "cifs", "smb3", "vfat", "exfat", "ntfs3", "9p"})
"""File systems that cannot have upper directories: they lack attributes, whiteouts, or stable inodes."""

_PAGE = 4096
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Method(Enum):
    """System calls that make the mount; AUTO takes the first of the others that works here."""

    AUTO = "auto"
    LAYERS = "layers"
    """fsopen(2), and one `lowerdir+` per layer (Linux 6.7)."""
    PAGE = "page"
    """mount(2) with all options in one page."""


class Overlay(NamedTuple):
    """One overlay mount: *lowers* top first; without an *upper* it is read-only.

    *volatile* gives up durability of the upper: after an unclean end, it cannot be mounted again. *userxattr* is for
    user namespaces. *source* is what the mount table shows as the device.
    """

    lowers: tuple[LowerDirectory, ...]
    upper: str = ""
    work: str = ""
    volatile: bool = False
    userxattr: bool = False
    nodev: bool = False
    nosuid: bool = False
    source: str = "arstore"

    @property
    def read_only(self) -> bool:
        """Whether the mount has no upper directory."""
        return not self.upper


class _Writable(NamedTuple):
    """The upper or the work directory, held open while the mount is made."""

    key: str
    fd: int
    path: str


def perform(overlay: Overlay, target: str, method: Method = Method.AUTO) -> None:
    """Mount *overlay* on the directory *target*.

    Raises MountError with the kernel's message, MountForbiddenError when this process may not mount, and OSError when
    the target, the upper or the work directory cannot be opened.
    """
    _check_layers(overlay, target)
    with ExitStack() as stack:
        target_fd = _opened_lower(target, stack)
        fs_fd = None if method is Method.PAGE else _context(overlay, target, method, stack)
        if fs_fd is None:
            _mount_by_page(overlay, target, target_fd, stack)
            return
        mount_fd = _mount_by_layers(overlay, target, fs_fd, stack)
        with _explained(None, target):
            mount.move_mount(mount_fd, target_fd, target)


def detached(overlay: Overlay, what: str = "overlay") -> int:
    """Return *overlay* as a detached mount: it ends with this descriptor, unless something else holds it by then.

    Raises MountError, MountForbiddenError, OSError, naming *what*; MountError also when the kernel is older than 6.7.
    """
    _check_layers(overlay, what)
    with ExitStack() as stack:
        fs_fd = _context(overlay, what, Method.LAYERS, stack)
        if fs_fd is None:
            raise MountError(what, "this kernel cannot make detached overlay mounts (Linux 6.7 can)")
        return os.dup(_mount_by_layers(overlay, what, fs_fd, stack))


def attach(mount_fd: int, target: str) -> None:
    """Mount a descriptor from `detached` on the directory *target*, even in a mount namespace entered in between.

    Raises MountError, MountForbiddenError, and OSError when the target cannot be opened.
    """
    with ExitStack() as stack:
        target_fd = _opened_lower(target, stack)
        with _explained(None, target):
            mount.move_mount(mount_fd, target_fd, target)


def _check_layers(overlay: Overlay, what: str) -> None:
    count = len(overlay.lowers)
    if count > MAX_LOWERS:
        raise MountError(what, f"has {count} layers; overlayfs takes at most {MAX_LOWERS}", FORBIDDEN_HINT)
    if count < 1 + overlay.read_only:
        raise MountError(what, "an overlay needs two lower layers, or one lower layer and an upper directory")


def _opened_lower(path: str, stack: ExitStack) -> int:
    fd = os.open(path, _DIRECTORY)
    stack.callback(os.close, fd)
    return fd


def _writable(overlay: Overlay, stack: ExitStack) -> list[_Writable]:
    if overlay.read_only:
        return []
    places = (("upperdir", overlay.upper), ("workdir", overlay.work))
    return [_Writable(key, _opened_lower(path, stack), path) for key, path in places]


# --- the new mount API ----------------------------------------------------------------------------------------------


def _context(overlay: Overlay, what: str, method: Method, stack: ExitStack) -> int | None:
    """Return an `fsopen` descriptor for the overlay, closed with *stack*; None when mount(2) has to be used."""
    try:
        fs_fd = mount.fsopen("overlay")
    except OSError as error:
        # EPERM may come from a filter that knows mount(2) only: mount(2) then decides whether mounting is forbidden.
        if method is Method.AUTO and error.errno in {errno.ENOSYS, errno.EPERM}:
            return None
        _refuse(overlay, what, error)
    stack.callback(os.close, fs_fd)
    return fs_fd if features.takes_lower_append(fs_fd) else None


def _mount_by_layers(overlay: Overlay, what: str, fs_fd: int, stack: ExitStack) -> int:
    """Return a detached mount, closed with *stack*."""
    directories = _writable(overlay, stack)
    with _explained(overlay, what, fs_fd):
        _configure(overlay, fs_fd, directories)
        mount.fsconfig_create(fs_fd)
        mount_fd = mount.fsmount(fs_fd, _attributes(overlay))
    stack.callback(os.close, mount_fd)
    return mount_fd


def _configure(overlay: Overlay, fs_fd: int, directories: list[_Writable]) -> None:
    mount.fsconfig_string(fs_fd, "source", overlay.source)
    for key, value in _options(overlay, directories).items():
        if value:
            mount.fsconfig_string(fs_fd, key, value)
        else:
            mount.fsconfig_flag(fs_fd, key)
    if overlay.read_only:
        mount.fsconfig_flag(fs_fd, "ro")
    by_fd = True
    for lower in overlay.lowers:
        by_fd = _give(fs_fd, "lowerdir+", lower.fd, lower.path, by_fd)
    for directory in directories:
        by_fd = _give(fs_fd, directory.key, directory.fd, directory.path, by_fd)


def _give(fs_fd: int, key: str, fd: int, path: str, by_fd: bool) -> bool:
    """Set *key* to a directory, by descriptor only if *by_fd*; return whether the kernel took a descriptor."""
    if by_fd:
        try:
            mount.fsconfig_fd(fs_fd, key, fd)
        except OSError as error:
            # Errors of kernels that do not take descriptors (before 6.13), or not O_PATH ones (before 6.15).
            if error.errno not in {errno.EINVAL, errno.EBADF}:
                raise
            mount.messages(fs_fd)
        else:
            return True
    usable = path and len(os.fsencode(path)) <= mount.MAX_STRING
    mount.fsconfig_string(fs_fd, key, path if usable else f"/proc/self/fd/{fd}")
    return False


def _attributes(overlay: Overlay) -> int:
    return (
        (mount.MOUNT_ATTR_RDONLY if overlay.read_only else 0)
        | (mount.MOUNT_ATTR_NODEV if overlay.nodev else 0)
        | (mount.MOUNT_ATTR_NOSUID if overlay.nosuid else 0)
    )


# --- mount(2) -------------------------------------------------------------------------------------------------------


def _mount_by_page(overlay: Overlay, target: str, target_fd: int, stack: ExitStack) -> None:
    """Mount by mount(2). Directories are named by descriptor numbers, relative to /proc/self/fd: short, no escapes."""
    directories = _writable(overlay, stack)
    options = {"lowerdir": ":".join(str(lower.fd) for lower in overlay.lowers)}
    options |= {directory.key: str(directory.fd) for directory in directories}
    options |= _options(overlay, directories)
    page = ",".join(f"{key}={value}" if value else key for key, value in options.items())
    if len(page) >= _PAGE:
        raise MountError(target, f"its {len(overlay.lowers)} layers do not fit into one page of mount options")
    # The descriptor names the directory that was opened, whatever the path leads to by now.
    place = f"/proc/self/fd/{target_fd}"
    with _explained(overlay, target):
        in_directory("/proc/self/fd", lambda: mount.mount(overlay.source, place, "overlay", _flags(overlay), page))


def _flags(overlay: Overlay) -> int:
    return (
        (mount.MS_RDONLY if overlay.read_only else 0)
        | (mount.MS_NODEV if overlay.nodev else 0)
        | (mount.MS_NOSUID if overlay.nosuid else 0)
    )


# --- both -----------------------------------------------------------------------------------------------------------


def _options(overlay: Overlay, directories: list[_Writable]) -> dict[str, str]:
    """Return the options other than directories; a flag has the value "".

    Distributions differ in the defaults of the first three. With redirects or metacopy, an untrusted layer could show
    files of other layers.
    """
    fds = chain((lower.fd for lower in overlay.lowers), (directory.fd for directory in directories))
    first = os.fstat(next(fds)).st_dev
    one_device = all(os.fstat(fd).st_dev == first for fd in fds)
    options = {"redirect_dir": "nofollow", "metacopy": "off", "index": "off", "xino": "auto" if one_device else "on"}
    if overlay.volatile and directories:
        options["volatile"] = ""
    if overlay.userxattr or not is_initial():
        # The kernel gives attributes named `trusted.` to the host's root alone.
        options["userxattr"] = ""
    return options


@contextmanager
def _explained(overlay: Overlay | None, what: str, fs_fd: int | None = None) -> Iterator[None]:
    """Turn a refusal into a MountError, with the kernel's own message read from *fs_fd* if given.

    *overlay* is given if its directories may have caused the refusal.
    """
    try:
        yield
    except OSError as error:
        _refuse(overlay, what, error, "; ".join(mount.messages(fs_fd)) if fs_fd is not None else "")


def _refuse(overlay: Overlay | None, what: str, error: OSError, said: str = "") -> NoReturn:
    text = reason(error)
    if error.errno in {errno.EPERM, errno.EACCES}:
        why = f"this process may not mount ({_lacking() or said or text})"
        raise MountForbiddenError(what, why, FORBIDDEN_HINT) from error
    if error.errno in {errno.ENOSPC, errno.EDQUOT} and overlay is not None and not overlay.read_only:
        # The kernel makes directories in the work directory. ENOSPC of a mount itself means too many mounts.
        raise from_os_error(error, overlay.work) from error
    known = _known_fault(overlay, error.errno) if overlay is not None else ""
    if known or said:
        raise MountError(what, known or f"{text}: {said}") from error
    raise MountError(what, text, "see the kernel log for details") from error


def _lacking() -> str:
    """Return what is missing for a mount in a user namespace; "" for nothing, and outside of one."""
    if is_initial():
        return ""
    if not owns_mounts():
        return "its mount namespace belongs to another user namespace; `unshare -Urm` and `arstore unshare` make both"
    release = os.uname().release
    numbers = [int(number) if number.isdigit() else 0 for number in release.split("-")[0].split(".")[:2]]
    return f"Linux {release} forbids overlayfs in a user namespace; 5.11 permits it" if numbers < [5, 11] else ""


def _known_fault(overlay: Overlay, code: int | None) -> str:
    """Explain an error number by looking at the directories; "" when nothing is found."""
    if code == errno.ENODEV:
        return "this kernel has no overlay file system"
    if code == errno.ELOOP:
        return "a layer is in the stack twice, or inside another layer"
    if code != errno.EINVAL:
        return ""
    if not overlay.read_only and (why := _fault_of_upper(overlay)):
        return why
    mounts = {info.mount_id for info in read_mounts()}
    if not all(mount_id_of(lower.fd) in mounts for lower in overlay.lowers):
        return "a layer was opened in another mount namespace, or is a detached mount (Linux 6.15 takes those)"
    return ""


def _fault_of_upper(overlay: Overlay) -> str:
    """Explain why directories cannot be an upper and its work directory; the kernel only logs the reason."""
    if os.path.lexists(os.path.join(overlay.work, "work/incompat/volatile")):
        return "its upper directory is mounted as volatile, or was when the host went down"
    upper, work = os.path.realpath(overlay.upper), os.path.realpath(overlay.work)
    if os.stat(upper).st_dev != os.stat(work).st_dev:
        return "its upper and its work directory are on different file systems"
    if (found := mount_below(upper)) is not None and found.fs_type in _NO_UPPER:
        return f"containers cannot write to a store on {found.fs_type}: overlayfs takes no upper directory there"
    if os.path.commonpath([upper, work]) in {upper, work}:
        return "its work directory is inside its upper directory, or the reverse"
    return ""
