"""The manual pages: one for the program, and one for each command, with the same texts as `--help`."""

from __future__ import annotations

import re
import time
from inspect import cleandoc
from typing import TYPE_CHECKING

import click

import arstore
from arstore.cli.clicked import clicked
from arstore.cli.command import Command, shared_statuses
from arstore.cli.group import Group
from arstore.cli.manual.roff import bold, definitions, escaped, example, filled, paragraphs, section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.cli.command import Declared

_EXAMPLE = re.compile(r"^Examples?:\n", re.MULTILINE)
_STORE_FILES = [
    ("/var/lib/ar, ~/.local/share/arstore", "The store, of root and of other users."),
    ("/run/ar, $XDG_RUNTIME_DIR/arstore", "Runtime state, discarded at reboot."),
    ("/etc/arstore/config.toml, ~/.config/arstore/config.toml", "Defaults of options."),
    ("/etc/arstore/stores.conf, ~/.config/arstore/stores.conf", "Additional stores, if config.toml names none."),
]
_REGISTRY_FILES = [
    ("/etc/containers/registries.conf, ~/.config/containers/registries.conf", "Registries and their mirrors."),
    ("$XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json", "Credentials."),
    ("/etc/containers/certs.d/HOST", "Certificates of a registry."),
]
_POLICY_FILES = [("/etc/containers/policy.json, ~/.config/containers/policy.json", "The signature policy.")]
_STORE_VARIABLES = [
    ("ARSTORE_CONFIG", "The configuration file, if `--config` is not given; it replaces both config.toml files."),
    ("ARSTORE_ROOT", "The directory of the store, if `--root` is not given."),
    ("ARSTORE_RUNROOT", "The directory of runtime state, if `--runroot` is not given."),
    (
        "ARSTORE_ADDITIONAL_STORES",
        "Additional stores, separated by colons, instead of those in config.toml or stores.conf.",
    ),
    ("ARSTORE_DEBUG", "1: show the traceback of an internal error."),
]
_REGISTRY_VARIABLES = [
    ("REGISTRY_AUTH_FILE", "The file with credentials, if `--authfile` is not given."),
    ("CONTAINERS_REGISTRIES_CONF", "The file to read instead of registries.conf."),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "Proxies, and the hosts that are reached without one."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates of authorities, instead of the host's."),
]
_TIME_VARIABLES = [("SOURCE_DATE_EPOCH", "The creation time of an image that is made, in seconds since 1970.")]
_LEFT = ".nh\n.ad l\n"
"""No hyphens in names of commands, and lines that are not stretched."""
_MAKES_IMAGES = frozenset({"import", "commit"})


def pages(program: Group) -> Iterator[tuple[str, str]]:
    """Yield the name of each page, such as `arstore-run.1`, and its text."""
    command = clicked(program)
    yield from _below(program, command, click.Context(command, info_name=program.name, **command.context_settings))


def _below(declared: Declared, command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    path = context.command_path.split()
    yield f"{'-'.join(path)}.1", _page(declared, command, context)
    if not isinstance(declared, Group):
        return
    for name in declared.entries():
        found = declared.find(name)
        if found is not None:
            below = clicked(found)
            yield from _below(
                found, below, click.Context(below, info_name=name, parent=context, **below.context_settings)
            )


def _page(declared: Declared, command: click.Command, context: click.Context) -> str:
    path = context.command_path.split()
    title = "-".join(path)
    short, _, rest = cleandoc(declared.help).partition("\n")
    text, _, examples = _split(rest)
    summary = short[:1].lower() + short[1:].rstrip(".")
    parts = [
        f'.TH {escaped(title.upper())} 1 "{_date()}" "arstore {arstore.__version__}" "arstore manual"\n',
        _LEFT,
        section("NAME", filled(f"{title} - {summary}")),
        section("SYNOPSIS", _synopsis(command, context)),
        section("DESCRIPTION", paragraphs(f"{short}\n\n{text}")),
        section("OPTIONS", _options(command, context)),
        section("COMMANDS", _commands(declared, path)),
        section("NOTES", filled(declared.epilog) if isinstance(declared, Group) else ""),
        section("EXAMPLES", example([line for line in examples.splitlines() if line])),
        section("EXIT STATUS", _statuses(declared)),
        section("FILES", definitions([(bold(name), meaning) for name, meaning in _files(declared)])),
        section("ENVIRONMENT", definitions([(bold(name), meaning) for name, meaning in _variables(declared)])),
        section("SEE ALSO", _see_also(declared, path)),
    ]
    return "".join(parts)


def _split(text: str) -> tuple[str, str, str]:
    """Return the text before the examples, the heading, and the examples."""
    found = _EXAMPLE.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _date() -> str:
    """Return the day for the foot of a page: that of SOURCE_DATE_EPOCH, or today. Raises UsageError."""
    from arstore.oci.timestamp import creation_time

    return time.strftime("%Y-%m-%d", time.gmtime(creation_time()))


def _synopsis(command: click.Command, context: click.Context) -> str:
    pieces = [f"\\fI{escaped(piece)}\\fR" for piece in command.collect_usage_pieces(context)]
    return f"{bold(context.command_path)}\n" + "".join(f"{piece}\n" for piece in pieces)


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    for one in command.get_params(context):
        record = one.get_help_record(context) if isinstance(one, click.Option) else None
        if record is not None:
            rows.append((_term(record[0]), record[1]))
    return definitions(rows)


def _term(text: str) -> str:
    """Return the names of an option in bold, and its value in italics."""
    words = []
    for word in text.split(", "):
        name, _, value = word.partition(" ")
        words.append(bold(name) + (f" \\fI{escaped(value)}\\fR" if value else ""))
    return ", ".join(words)


def _commands(declared: Declared, path: list[str]) -> str:
    """Return the commands of a group, under the headings of its help."""
    found = ""
    for title, entries in declared.sections.items() if isinstance(declared, Group) else ():
        rows = [(f"{bold('-'.join([*path, name]))}(1)", entry.short) for name, entry in entries.items()]
        heading = "" if title == "Commands" else f".SS {title}\n"
        found += heading + definitions(rows)
    return found


def _statuses(declared: Declared) -> str:
    if not isinstance(declared, Command):
        return definitions([(bold(str(status)), meaning) for status, meaning in shared_statuses()])
    rows = [(bold(str(status)), meaning) for status, meaning in declared.own_statuses()]
    if declared.any_status:
        rows.insert(0, (bold("any"), "that of the command in the container; 128 + N if signal N ended it"))
    else:
        rows.insert(0, (bold("0"), "success"))
        rows.append((bold("other"), "shared by all commands; see `arstore`(1)"))
    return definitions(rows)


def _files(declared: Declared) -> list[tuple[str, str]]:
    is_program = isinstance(declared, Group)
    registry = _REGISTRY_FILES if is_program or declared.has_option("--authfile") else []
    return [*_STORE_FILES, *registry, *(_POLICY_FILES if is_program or declared.has_option("--policy") else [])]


def _variables(declared: Declared) -> list[tuple[str, str]]:
    is_program = isinstance(declared, Group)
    registry = _REGISTRY_VARIABLES if is_program or declared.has_option("--authfile") else []
    return [*_STORE_VARIABLES, *registry, *(_TIME_VARIABLES if is_program or declared.name in _MAKES_IMAGES else [])]


def _see_also(declared: Declared, path: list[str]) -> str:
    names = ["-".join(path[:count]) for count in range(1, len(path))]
    if isinstance(declared, Group):
        names += ["-".join([*path, name]) for name in declared.entries()]
    names = sorted(names)
    return "".join(f".BR {escaped(name)} (1){',' if at < len(names) else ''}\n" for at, name in enumerate(names, 1))
