"""The container options of `run` and `create` that `load` does not have: the command, names, files, streams."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.parameter import ANY, Range, option
from arstore.errors import NotFoundError, UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypedDict, TypeVar

    from arstore.oci.platform import Platform
    from arstore.runtime.spec.options import RunOptions

    F = TypeVar("F", bound="Callable[..., Any]")

    class SettingWords(TypedDict):
        """The options as they were typed."""

        interactive: bool
        tty: bool
        workdir: str
        entrypoint: str | None
        read_only: bool
        read_only_tmpfs: bool
        hostname: str
        cgroupns: str
        label: tuple[str, ...]
        label_file: tuple[str, ...]
        annotation: tuple[str, ...]
        stop_signal: str
        tz: str
        hooks_dir: tuple[str, ...]
        chrootdirs: tuple[str, ...]
        gpus: str
        seccomp_policy: str
        shm_size_systemd: str
        disable_content_trust: bool
        systemd: str
        sdnotify: str
        preserve_fds: int
        preserve_fd: tuple[str, ...]
        pidfile: str
        conmon_pidfile: str
        platform: str | None
        os: str
        arch: str
        variant: str


_MOST_FDS = 1024
_LABELS_LIMIT = 16 << 20


_OPTIONS = (
    option("-i", "--interactive", is_flag=True, help="Pass stdin to the command."),
    option("-t", "--tty", is_flag=True, help="Give the command a terminal."),
    option("-w", "--workdir", metavar="DIR", type=ANY, default="", help="Set the working directory."),
    option("--entrypoint", metavar="X", type=ANY, help="Replace the image's ENTRYPOINT and CMD; empty for none."),
    option("--read-only", is_flag=True, help="Make the root file system read-only."),
    option(
        "--read-only-tmpfs",
        is_flag=True,
        default=True,
        help="With --read-only, mount file systems in memory on /run, /tmp and /var/tmp; this is the default. "
        "--read-only-tmpfs=false leaves nothing writable.",
    ),
    option(
        "-h",
        "--hostname",
        metavar="NAME",
        type=ANY,
        default="",
        help="Set the host name; by default it is the container's id.",
    ),
    option("-l", "--label", metavar="K[=V]", multiple=True, help="Add a label to those of the image."),
    option("--label-file", metavar="FILE", multiple=True, help="Add the labels in FILE, with K[=V] on each line."),
    option("--annotation", metavar="K=V", multiple=True, help="Add an annotation for the OCI runtime and its hooks."),
    option("--stop-signal", metavar="SIGNAL", type=ANY, default="", help="Replace the image's stop signal."),
    option("--tz", metavar="ZONE", default="", help="Set the time zone, such as Europe/Berlin, or local."),
    option(
        "--hooks-dir",
        metavar="DIR",
        multiple=True,
        help="Run the OCI hooks in DIR, programs of this host with the rights of root. None are run by default.",
    ),
    option(
        "--chrootdirs",
        metavar="DIR",
        multiple=True,
        help="Mount /etc/hosts and /etc/resolv.conf in this directory of the container too, for programs that change "
        "their root to it.",
    ),
    option(
        "--gpus",
        metavar="GPUS",
        default="",
        help="Add GPUs that files in /etc/cdi describe (nvidia.com/gpu): all, or their names.",
    ),
    option(
        "--seccomp-policy",
        metavar="POLICY",
        default="default",
        help="default is the only policy: an image cannot choose its seccomp profile.",
    ),
    option("--systemd", metavar="MODE", default="false", help="false is the only mode: no set-up for systemd."),
    option("--shm-size-systemd", metavar="N", default="", help="Without effect: there is no set-up for systemd."),
    option("--disable-content-trust", is_flag=True, help="Without effect, as in podman; see --policy."),
    option("--sdnotify", metavar="MODE", default="ignore", help="ignore is the only mode: no messages to systemd."),
    option(
        "--preserve-fds",
        metavar="N",
        type=Range(int, min=0, max=_MOST_FDS),
        default=0,
        help="Give the command N open files of the caller, from descriptor 3 on.",
    ),
    option("--preserve-fd", metavar="FD[,FD]", multiple=True, help="Give the command these open files of the caller."),
    option("--pidfile", metavar="FILE", default="", help="Write the number of the container's process to FILE."),
    option(
        "--conmon-pidfile",
        metavar="FILE",
        default="",
        help="Write the process id of the container's launcher, which runs as long as the container, to FILE.",
    ),
    option("--platform", metavar="OS/ARCH[/VARIANT]", help="Choose the image for this platform."),
    option("--os", metavar="OS", default="", help="Choose the image for this operating system."),
    option("--arch", metavar="ARCH", default="", help="Choose the image for this architecture."),
    option("--variant", metavar="VARIANT", default="", help="Choose the image for this variant of the architecture."),
)


def setting_options(function: F) -> F:
    """Add the options of SettingWords to a command."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def with_settings(options: RunOptions, args: tuple[str, ...], words: SettingWords) -> RunOptions:
    """Return *options* with those of SettingWords, and the command *args*.

    Raises UsageError, NotFoundError, PermissionDeniedError, HostError.
    """
    from arstore.disk.delegation import is_version_1
    from arstore.runtime.lifecycle.signals import parse_signal
    from arstore.runtime.spec.mounts.mount_point import clean_destination
    from arstore.runtime.spec.mounts.volume import granting
    from arstore.runtime.spec.options import check_hostname
    from arstore.runtime.spec.timezone import check_timezone

    if words["stop_signal"]:
        parse_signal(words["stop_signal"])
    _refuse_modes(words)
    if words["hostname"] and options.isolation.uts == "host":
        raise UsageError("--hostname", "cannot be set with --uts=host: it would change the host's name")
    if words["gpus"]:
        options = _with_gpus(options, words["gpus"])
    entrypoint = words["entrypoint"]
    isolation = options.isolation
    if not words["cgroupns"] and is_version_1():
        # As in podman and docker: there, programs look for their container's id in /proc/self/cgroup.
        isolation = isolation._replace(cgroup="host")
    return options._replace(
        args=args,
        isolation=isolation,
        volumes=tuple(map(granting, options.volumes)),
        entrypoint=None if entrypoint is None else parse_entrypoint(entrypoint),
        workdir=words["workdir"],
        read_only=words["read_only"],
        read_only_tmpfs=words["read_only_tmpfs"],
        tty=words["tty"],
        interactive=words["interactive"],
        hostname=check_hostname(words["hostname"]) if words["hostname"] else "",
        labels=dict(_label(text) for text in (*_label_lines(words["label_file"]), *words["label"])),
        annotations=dict(_annotation(text) for text in words["annotation"]),
        stop_signal=words["stop_signal"],
        timezone=check_timezone(words["tz"]) if words["tz"] else "",
        hooks_dirs=tuple(map(_directory, words["hooks_dir"])),
        chroot_dirs=tuple(clean_destination(path, path) for word in words["chrootdirs"] for path in word.split(",")),
        preserved_fds=_descriptors(words["preserve_fds"], words["preserve_fd"]),
        pid_file=os.path.abspath(words["pidfile"]) if words["pidfile"] else "",
        launcher_pid_file=os.path.abspath(words["conmon_pidfile"]) if words["conmon_pidfile"] else "",
    )


def _with_gpus(options: RunOptions, text: str) -> RunOptions:
    """Return *options* with what these GPUs need. Raises the errors of `cdi.edits`."""
    from arstore.runtime.spec.rights import cdi

    found = cdi.edits(cdi.gpus(text))
    return options._replace(
        env=(*found.env, *options.env),
        devices=(*options.devices, *found.devices),
        volumes=(*options.volumes, *found.volumes),
        groups=(*options.groups, *found.groups),
        device_hooks=found.hooks,
    )


def wanted_platform(words: SettingWords) -> Platform | None:
    """Return the platform that the image is chosen for; None for the host's.

    Raises UsageError, InvalidReferenceError.
    """
    parts = (words["os"], words["arch"], words["variant"])
    text = words["platform"]
    if text is None and not any(parts):
        return None
    if text is not None and any(parts):
        raise UsageError("--platform", "excludes --os, --arch and --variant")
    from arstore.oci.platform import host, parse

    if text is not None:
        return parse(text)
    here = host()
    same = not words["arch"] or words["arch"] == here.architecture
    variant = words["variant"] or (here.variant if same else "")
    return parse("/".join(filter(None, (words["os"] or here.os, words["arch"] or here.architecture, variant))))


def _refuse_modes(words: SettingWords) -> None:
    """Raise UsageError for modes that other tools have, with the reason."""
    from arstore.oci.document import shown

    if words["systemd"] != "false":
        why = "is not supported: arstore makes no set-up for systemd as the container's init"
        raise UsageError(f"--systemd={shown(words['systemd'])}", why, "use --systemd=false")
    if words["seccomp_policy"] != "default":
        why = "is not supported: an image cannot choose its seccomp profile"
        raise UsageError(f"--seccomp-policy={shown(words['seccomp_policy'])}", why, "use --security-opt seccomp=FILE")
    if words["shm_size_systemd"]:
        from arstore.runtime.spec.sizes import parse_size

        parse_size(words["shm_size_systemd"])
    if words["sdnotify"] != "ignore":
        why = "is not supported: arstore sends no messages to systemd"
        raise UsageError(f"--sdnotify={shown(words['sdnotify'])}", why, "use --sdnotify=ignore")


def parse_entrypoint(text: str) -> tuple[str, ...]:
    """Parse one word, or a JSON list of words; "" means without an entrypoint. Raises UsageError."""
    if not text.startswith("["):
        return (text,) if text else ()
    import json

    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "is neither a word nor a JSON list of words")
    return tuple(words)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(text, "a label needs a name")
    return name, value


def _label_lines(paths: Sequence[str]) -> list[str]:
    """Return the labels of `--label-file`; blank lines and comments are ignored."""
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(_LABELS_LIMIT + 1)
        except OSError as error:
            raise from_os_error(error, path) from error
        if len(text) > _LABELS_LIMIT:
            raise UsageError(path, f"is larger than {_LABELS_LIMIT >> 20} MiB")
        lines = (line.strip() for line in text.split("\n"))
        found += [line for line in lines if line and not line.startswith("#")]
    return found


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        from arstore.oci.document import shown

        raise UsageError(shown(text), "not an annotation", "write KEY=VALUE")
    return name, value


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise NotFoundError(path, "no such directory")
    return os.path.abspath(path)


def _descriptors(count: int, lists: Sequence[str]) -> tuple[int, ...]:
    """Return the descriptors of `--preserve-fds` and `--preserve-fd`. Raises UsageError for one that is not open."""
    found = dict.fromkeys(range(3, 3 + count))
    for text in (word for words in lists for word in words.split(",")):
        if not text.isascii() or not text.isdigit() or not 3 <= int(text) < _MOST_FDS:
            from arstore.oci.document import shown

            raise UsageError(f"--preserve-fd={shown(text)}", "not the number of a descriptor above 2")
        found[int(text)] = None
    for number in found:
        # Descriptors of this program itself are never inheritable.
        try:
            given = os.get_inheritable(number)
        except OSError:
            given = False
        if not given:
            raise UsageError(f"descriptor {number}", "is not open in the caller")
    return tuple(sorted(found))
