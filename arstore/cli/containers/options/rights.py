"""Options for what a container may do, and as whom: users, capabilities, devices, profiles."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.parameter import ANY, Range, option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from arstore.runtime.spec.options import RunOptions

    class RightsWords(TypedDict):
        """The options as they were typed."""

        user: str | None
        group_add: tuple[str, ...]
        device: tuple[str, ...]
        device_cgroup_rule: tuple[str, ...]
        cap_add: tuple[str, ...]
        cap_drop: tuple[str, ...]
        security_opt: tuple[str, ...]
        privileged: bool
        umask: str | None
        oom_score_adj: int | None
        passwd: bool
        passwd_entry: str
        group_entry: str
        hostuser: tuple[str, ...]


_KEEP = "keep-groups"


RIGHTS_OPTIONS = (
    option("-u", "--user", metavar="USER[:GROUP]", type=ANY, help="Run the command as this user."),
    option(
        "--group-add",
        metavar="GROUP",
        multiple=True,
        help="Add the command to this group, or with keep-groups to those of the caller.",
    ),
    option("--device", metavar="HOST[:PATH][:rwm]", multiple=True, help="Add a device, or a directory of devices."),
    option(
        "--device-cgroup-rule",
        metavar="RULE",
        multiple=True,
        help="Allow devices by number: TYPE MAJOR:MINOR ACCESS, such as 'c 10:* rwm'.",
    ),
    option("--cap-add", metavar="CAP", multiple=True, help="Add a capability, or all."),
    option("--cap-drop", metavar="CAP", multiple=True, help="Drop a capability, or all."),
    option(
        "--security-opt",
        metavar="OPT",
        multiple=True,
        help="seccomp=FILE|unconfined|default, no-new-privileges, unmask=ALL|PATH[:PATH...], mask=PATH[:PATH...], "
        "proc-opts=OPT or apparmor=PROFILE. label=... is accepted without effect: there are no SELinux labels.",
    ),
    option(
        "--privileged", is_flag=True, help="Give the container all capabilities and devices, and no seccomp profile."
    ),
    option("--umask", metavar="MODE", help="Set the umask; 0022 by default."),
    option(
        "--oom-score-adj",
        metavar="N",
        type=Range(int, min=-1000, max=1000),
        help="Change how early the kernel kills the command when memory runs out: from -1000 (never) to 1000.",
    ),
    option(
        "--passwd",
        is_flag=True,
        default=True,
        help="Add entries for the user and group to /etc/passwd and /etc/group if they have none; this is the default.",
    ),
    option(
        "--passwd-entry",
        metavar="ENTRY",
        default="",
        help="Add this line to /etc/passwd; $USERNAME, $UID, $GID, $HOME are replaced.",
    ),
    option("--group-entry", metavar="ENTRY", default="", help="Add this line to /etc/group, as --passwd-entry."),
    option("--hostuser", metavar="USER", multiple=True, help="Add this user of the host to /etc/passwd."),
)


def with_rights(options: RunOptions, words: RightsWords) -> RunOptions:
    """Return *options* with the container's user and rights. Raises UsageError, NotFoundError."""
    from arstore.runtime.spec.devices import parse_device
    from arstore.runtime.spec.identity.accounts import Accounts, host_user, parse_entry
    from arstore.runtime.spec.resources import parse_device_rule
    from arstore.runtime.spec.rights.security import parse_security

    added, dropped = split(words["cap_add"]), split(words["cap_drop"])
    accounts = Accounts(
        words["passwd"],
        parse_entry(words["passwd_entry"], 7) if words["passwd_entry"] else "",
        parse_entry(words["group_entry"], 4) if words["group_entry"] else "",
        tuple(map(host_user, words["hostuser"])),
    )
    rules = tuple(map(parse_device_rule, words["device_cgroup_rule"]))
    return options._replace(
        user=words["user"],
        groups=_groups(split(words["group_add"])),
        security=parse_security(words["security_opt"], added, dropped, words["privileged"]),
        devices=tuple(map(parse_device, words["device"])),
        umask=0o022 if words["umask"] is None else parse_umask(words["umask"]),
        oom_score_adj=words["oom_score_adj"],
        accounts=accounts,
        resources=options.resources._replace(device_rules=rules),
    )


def _groups(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the groups of --group-add; `keep-groups` stands for those of this process. Raises UsageError."""
    if _KEEP not in names:
        return names
    if len(names) > 1:
        raise UsageError(f"--group-add={_KEEP}", "excludes other groups")
    return tuple(map(str, os.getgroups()))


def parse_umask(text: str) -> int:
    """Return a umask from up to four octal digits. Raises UsageError."""
    if not 1 <= len(text) <= 4 or text.strip("01234567"):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "not a umask", "write octal digits, such as 0027")
    return int(text, 8) & 0o777


def split(words: Sequence[str]) -> tuple[str, ...]:
    """Split words at commas, as podman does."""
    return tuple(one for word in words for one in word.split(","))
