"""Options for what is mounted into a container: volumes, images, file systems in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.parameter import Choice, option

if TYPE_CHECKING:
    from typing import Literal, TypedDict

    from arstore.runtime.spec.options import RunOptions

    class MountWords(TypedDict):
        """The options as they were typed."""

        volume: tuple[str, ...]
        mount: tuple[str, ...]
        volumes_from: tuple[str, ...]
        tmpfs: tuple[str, ...]
        image_volume: Literal["anonymous", "bind", "tmpfs", "ignore"]


MOUNT_OPTIONS = (
    option(
        "-v",
        "--volume",
        metavar="[SRC:]DST[:OPT,...]",
        multiple=True,
        help="Mount a host path or a named volume at DST; ro is read-only. SRC is a path if it begins with / or a dot.",
    ),
    option(
        "--mount",
        metavar="KEY=V,...",
        multiple=True,
        help="The same in longer words, such as type=bind,src=/srv,dst=/srv,ro. The types are bind, volume, tmpfs, "
        "image, ramfs, devpts and glob.",
    ),
    option(
        "--volumes-from",
        metavar="ID[:ro]",
        multiple=True,
        help="Mount the volumes of another container too.",
    ),
    option(
        "--tmpfs", metavar="PATH[:OPT,...]", multiple=True, help="Mount a file system in memory, such as /tmp:size=1g."
    ),
    option(
        "--image-volume",
        type=Choice(("anonymous", "bind", "tmpfs", "ignore")),
        default="anonymous",
        show_default=True,
        help="What becomes of the volumes that the image declares: directories of the container, file systems in "
        "memory, or nothing.",
    ),
)


def with_mounts(options: RunOptions, words: MountWords) -> RunOptions:
    """Return *options* with the mounts. An option that is given twice with the same words counts once, as in podman.

    Raises UsageError, also for two mounts at the same place; NotFoundError for a source that does not exist.
    """
    from arstore.runtime.spec.mounts.filesystems import parse_tmpfs
    from arstore.runtime.spec.mounts.volume import parse_volume, require_different

    volumes = tuple(map(parse_volume, dict.fromkeys(words["volume"])))
    tmpfs = tuple(map(parse_tmpfs, dict.fromkeys(words["tmpfs"])))
    if words["mount"]:
        from arstore.runtime.spec.mounts.mount_option import parse_mount

        mounted = [parse_mount(text) for text in dict.fromkeys(words["mount"])]
        volumes += tuple(volume for one in mounted for volume in one.volumes)
        tmpfs += tuple(filesystem for one in mounted for filesystem in one.filesystems)
    require_different([*(one.destination for one in volumes), *(one.destination for one in tmpfs)])
    kind = words["image_volume"]
    return options._replace(
        volumes=volumes,
        volumes_from=words["volumes_from"],
        tmpfs=tmpfs,
        image_volumes="anonymous" if kind == "bind" else kind,
    )
