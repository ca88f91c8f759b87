"""Groups of commands that are imported only when they run: a table has their names, modules and one-line helps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from arstore.cli.command import Declared
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class CommandEntry(NamedTuple):
    """A command: its module below `arstore.cli`, its name in that module, and the first line of its help."""

    module: str
    attribute: str
    short: str


COMMANDS: Mapping[str, Mapping[str, CommandEntry]] = {
    "Images": {
        "import": CommandEntry("images.imports", "import_", "Bring images into the store."),
        "copy": CommandEntry("images.copy", "copy", "Copy images from one medium to another."),
        "save": CommandEntry("images.copy", "save", "Write images of the store to a file."),
        "images": CommandEntry("images.images", "images", "List the images."),
        "layers": CommandEntry("images.layers", "layers", "List the layers."),
        "inspect": CommandEntry("images.inspect", "inspect", "Show the details of images and containers."),
        "history": CommandEntry("images.inspect", "history", "Show how an image was built."),
        "tag": CommandEntry("images.tag_rm", "tag", "Give an image a name."),
        "untag": CommandEntry("images.tag_rm", "untag", "Remove a name from its image."),
        "rm": CommandEntry("images.tag_rm", "rm", "Remove images, and everything that only they need."),
        "index": CommandEntry("images.index", "index", "Manage indexes: images for several platforms under one name."),
    },
    "Registries": {
        "push": CommandEntry("registries.push", "push", "Send an image of the store to a registry."),
        "pull": CommandEntry("registries.pull", "pull", "Bring an image from a registry into the store."),
        "sync": CommandEntry("registries.sync", "sync", "Copy many images from one place to another."),
        "list-tags": CommandEntry("registries.listing", "list_tags", "List the tags of a repository in a registry."),
        "referrers": CommandEntry(
            "registries.listing",
            "referrers",
            "List the artifacts that refer to an image.",
        ),
        "delete": CommandEntry("registries.listing", "delete", "Delete an image from a registry."),
        "login": CommandEntry("registries.login", "login", "Store credentials for a registry."),
        "logout": CommandEntry("registries.login", "logout", "Remove the credentials for a registry."),
    },
    "Trust": {
        "sign": CommandEntry("trust.signing", "sign", "Sign an image."),
        "verify": CommandEntry("trust.verify", "verify", "Verify that an image is signed with a key."),
        "keygen": CommandEntry("trust.keygen", "keygen", "Create a key pair to sign images with."),
        "policy": CommandEntry("trust.policy", "policy", "Check policies, and explain their decisions."),
    },
    "Root file systems": {
        "mount": CommandEntry(
            "containers.mounts", "mount", "Mount an image read-only, or a container's writable root."
        ),
        "umount": CommandEntry("containers.mounts", "umount", "Unmount images and containers."),
        "mounts": CommandEntry("containers.mounts", "mounts", "List the mounts."),
        "unshare": CommandEntry(
            "containers.unshare", "unshare", "Run a command in which an ordinary user is root, and may mount."
        ),
        "export": CommandEntry("containers.export", "export", "Write a container's root file system as a tar."),
        "unpack": CommandEntry("images.unpack", "unpack", "Copy an image's root file system to a directory."),
    },
    "Containers": {
        "run": CommandEntry("containers.run", "run", "Run a command in a new container."),
        "create": CommandEntry("containers.run", "create", "Create a container without starting its command."),
        "start": CommandEntry("containers.start", "start", "Start containers that are not running."),
        "restart": CommandEntry("containers.start", "restart", "Stop containers, and start them again."),
        "ps": CommandEntry("containers.inspection.ps", "ps", "List the containers."),
        "logs": CommandEntry("containers.logs", "logs", "Show the output of detached containers."),
        "attach": CommandEntry("containers.attach", "attach", "Connect to a running container."),
        "exec": CommandEntry("containers.containers", "exec_", "Run a command in a running container."),
        "kill": CommandEntry("containers.containers", "kill", "Send a signal to running containers."),
        "stop": CommandEntry("containers.containers", "stop", "Stop running containers."),
        "wait": CommandEntry("containers.containers", "wait", "Wait until containers have ended."),
        "pause": CommandEntry("containers.pause_rename", "pause", "Freeze the processes of running containers."),
        "unpause": CommandEntry("containers.pause_rename", "unpause", "Let the processes of paused containers go on."),
        "rename": CommandEntry("containers.pause_rename", "rename", "Give a container another name."),
        "healthcheck": CommandEntry("containers.healthcheck", "healthcheck", "Check the health of containers."),
        "top": CommandEntry("containers.inspection.top", "top", "Show the processes of a running container."),
        "stats": CommandEntry(
            "containers.inspection.stats",
            "stats",
            "Show what containers use of the host.",
        ),
        "cp": CommandEntry("containers.cp", "cp", "Copy files into a container, or out of one."),
        "container": CommandEntry("containers.rm", "container", "Manage containers."),
        "volume": CommandEntry("containers.volume", "volume", "Manage named volumes."),
        "commit": CommandEntry("containers.commit_diff", "commit", "Create an image from a container's changes."),
        "diff": CommandEntry("containers.commit_diff", "diff", "Show the differences between root file systems."),
        "load": CommandEntry("containers.load", "load", "Import a pipeline image, run it, and import its images."),
    },
    "The store": {
        "info": CommandEntry("upkeep.info", "info", "Show versions, kernel features, paths, and allowed actions."),
        "du": CommandEntry("upkeep.du", "du", "Show disk usage."),
        "find": CommandEntry("upkeep.find", "find", "Find which images and layers have a file."),
        "gc": CommandEntry("upkeep.gc_check", "gc", "Remove everything that is not in use."),
        "trim": CommandEntry("upkeep.trim", "trim", "Give up cached layer trees; no image is lost."),
        "prune": CommandEntry("upkeep.prune", "prune", "Remove images that were not used for a time."),
        "protect": CommandEntry("upkeep.prune", "protect", "Keep images from gc and prune."),
        "unprotect": CommandEntry("upkeep.prune", "unprotect", "End the protection of images."),
        "convert": CommandEntry(
            "upkeep.convert", "convert", "Convert layer trees between EROFS index and extracted files."
        ),
        "backup": CommandEntry("upkeep.backup", "backup", "Copy all images, with their names, to a directory."),
        "check": CommandEntry("upkeep.gc_check", "check", "Look for damage in the store, and repair it."),
    },
    "This program": {
        "completion": CommandEntry(
            "completion.command", "completion", "Print a script that completes command lines in a shell."
        ),
        "man": CommandEntry("manual.command", "man", "Write the manual pages to a directory."),
    },
}
"""Every command of the program, in the order of its help."""


class Group(Declared):
    """A group that imports the module of a command only when the command is looked up."""

    def __init__(
        self, name: str, function: Callable[..., Any], sections: Mapping[str, Mapping[str, CommandEntry]]
    ) -> None:
        super().__init__(name, function, interspersed=False)
        self.sections = sections
        """Commands by name, under the headings of the help."""
        self.epilog = ""
        """Text at the end of its help."""
        self.shows_help_alone = False
        """Whether the help is shown, with status 0, if no command is given."""

    def entries(self) -> dict[str, CommandEntry]:
        """Return all commands by name, without headings."""
        return {name: entry for section in self.sections.values() for name, entry in section.items()}

    def find(self, name: str) -> Declared | None:
        """Return the command or group called *name*, and import its module; None if the name is unknown."""
        entry = self.entries().get(name)
        if entry is None:
            return None
        module = importlib.import_module(f"arstore.cli.{entry.module}")
        found: Declared = getattr(module, entry.attribute)
        return found
