"""`info`: show versions, kernel features, paths, the store, and what this user can do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option, keeping_nothing
from arstore.cli.terminal.output import human_size, printable, write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from arstore.cli.session import Session

    Document = Mapping[str, Any]

_COUNTS = ("images", "names", "protected", "layers", "trees", "containers")
_WORDS = {True: "yes", False: "no", None: "unknown"}


@keeping_nothing
@exit_statuses()
@command("info")
@json_option
def info(session: Session) -> None:
    """Show versions, kernel features, paths, and allowed actions.

    Shows which configuration files are read and where each setting comes from, what the store has, which form new layer
    trees get, and which OCI runtime is used. For everything that does not work, it shows which right, program or kernel
    setting is missing. Nothing is changed, and no store is needed.

    Prints groups of lines, `key: value`. Limits that have their defaults are only in the output of --json.

    Example:

    arstore info --json
    """
    from arstore.api.info.report import Given, report
    from arstore.api.opening import directories_of

    root, runroot = map(os.path.abspath, directories_of(session.root, session.runroot, session.settings, make=False))
    given = Given(session.root, session.runroot, session.config, session.given_level, session.additional)
    found = report(given, session.settings, (root, runroot), session.additional_stores(root))
    if session.json:
        write_json(found)
        return
    for title, lines in _groups(found):
        write_line(f"{title}:")
        for key, text in lines:
            write_line(f"  {key}: {printable(text)}".rstrip())


def _groups(found: Document) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the title of each group, and its lines as key and text."""
    yield "versions", _versions(found["versions"])
    yield "host", _host(found["host"])
    yield "features", [(key, _answer(one["available"], one["detail"])) for key, one in found["features"].items()]
    if found["without_root"] is not None:
        yield "without root", _without_root(found["without_root"])
    yield "paths", _paths(found["paths"])
    yield "store", _store(found["store"])
    trees, runtime = found["trees"], found["runtime"]
    yield "trees", [("form", _because(trees["form"], trees["why"]))]
    yield "runtime", _runtime(runtime)
    yield "settings", _settings(found["settings"])
    yield "this user can", [(one["action"], _answer(one["possible"], one["why"])) for one in found["abilities"]]


_NAMESPACES = {"entered": "yes (entered by each command that needs it)", "inside": "yes (this process is in one)"}


def _versions(found: Document) -> list[tuple[str, str]]:
    libraries = [(name, version or "not installed") for name, version in found["libraries"].items()]
    own = [("arstore", found["arstore"]), ("store format", str(found["store_format"])), ("python", found["python"])]
    return own + libraries


def _host(found: Document) -> list[tuple[str, str]]:
    inside = ", in a user namespace" if found["user_namespace"] else ""
    return [
        ("kernel", found["kernel"]),
        ("architecture", found["architecture"]),
        ("cpus", str(found["cpus"])),
        ("memory", human_size(found["memory"])),
        ("user", f"{found['user']} ({found['uid']}){inside}"),
    ]


def _without_root(found: Document) -> list[tuple[str, str]]:
    one = "one user and one group" if found["owners"] == found["groups"] == 1 else ""
    ids = (one or f"{found['owners']} users and {found['groups']} groups") if found["possible"] else "none"
    why = "; ".join(filter(None, (found["why"], found["hint"])))
    lines = [("user namespace", f"no ({found['why']})" if not found["possible"] else _NAMESPACES[found["kind"]])]
    if found["possible"]:
        lines.append(("owners of files", _because(ids, why)))
        lines.append(("overlay mounts", _answer(not found["overlay"], found["overlay"])))
    return lines


def _paths(found: Document) -> list[tuple[str, str]]:
    config = ", ".join(found["config_files"]) or f"none (looked for {', '.join(found['config_places'])})"
    return [
        ("root", found["root"]),
        ("runroot", found["runroot"]),
        ("config", config),
        ("policy", _because(found["policy"], found["policy_decides"])),
        ("registries.conf", ", ".join(found["registries_conf"]) or "none"),
        ("stores.conf", found["stores_conf"] or "none"),
        ("credentials", ", ".join(found["auth_files"]) or "none"),
    ]


def _store(found: Document) -> list[tuple[str, str]]:
    lines = [("exists", _answer(found["exists"], found["absent"]))]
    if found["error"]:
        lines.append(("error", found["error"]))
    if found["exists"]:
        lines.append(("access", f"{found['access']}, owner {found['owner']}"))
    if "id" in found:
        lines += [("id", found["id"] or "none"), ("format", str(found["format"]))]
        lines += [(name, str(found[name])) for name in _COUNTS]
    if found["free"] is not None:
        free = f"{human_size(found['free'])} of {human_size(found['size'])}"
        lines += [("file system", found["file_system"] or "unknown"), ("free", free)]
    for one in found["additional"]:
        lines.append(("additional store", one["root"] if one["usable"] else f"not usable: {one['why']}"))
    return lines


def _runtime(found: Document) -> list[tuple[str, str]]:
    lines = [("path", _because(found["path"], found["why"]))]
    if found["version"]:
        lines.append(("version", found["version"]))
    others = [one["path"] for one in found["candidates"] if one["path"] != found["path"]]
    return [*lines, *([("also installed", ", ".join(others))] if others else [])]


def _settings(found: Document) -> list[tuple[str, str]]:
    """Limits that have their defaults are left out."""
    return [
        (key, f"{_value(one['value'])} ({one['source']})")
        for key, one in found.items()
        if not (key.startswith("limits.") and one["source"] == "default")
    ]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _answer(is_so: bool | None, detail: str) -> str:
    return f"{_WORDS[is_so]} ({detail})" if detail else _WORDS[is_so]


def _because(value: str | None, why: str) -> str:
    return f"{value or 'none'} ({why})" if why else value or "none"
