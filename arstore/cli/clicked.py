"""click's commands, made of the declarations: for help, usage errors and completion, and lines that are not plain.

A plain command line needs none of this (see `line`).
"""

from __future__ import annotations

from inspect import cleandoc
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from arstore.cli.command import Command, Declared
from arstore.cli.group import Group
from arstore.cli.parameter import RAW, Argument, Choice, FilePath, Option, Parameter, Range
from arstore.cli.session import Session
from arstore.cli.terminal.output import write_text
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SETTINGS = {"help_option_names": ["-h", "--help"]}


def run(program: Group, session: Session, words: list[str]) -> int:
    """Run the command line *words*; return the exit status. Raises UsageError, KeyboardInterrupt, and what it raises.

    click's own `main` is not used: it has its own ideas about interrupts and broken pipes.
    """
    made = clicked(program)
    try:
        with made.make_context(program.name, words, obj=session) as context:
            result = made.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        raise from_click(error) from error
    return result if isinstance(result, int) else 0


def complete(program: Group, session: Session, words: list[str], variable: str) -> NoReturn:
    """Answer the shell that asks for completions with the environment variable *variable*, and exit."""
    clicked(program).main(words, prog_name=program.name, complete_var=variable, obj=session)
    raise AssertionError("click exits")


def from_click(error: click.ClickException) -> UsageError:
    """Return what click found wrong with the command line, as an error of ours."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else ""
    what = path.partition(" ")[2]
    why = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(what, why[:1].lower() + why[1:], f"`{path or 'arstore'} --help` tells more")


def clicked(declared: Declared) -> click.Command:
    """Make click's command, or group, of a declaration. click cleans the indentation of its help."""
    settings: dict[str, Any] = {**_SETTINGS, "allow_interspersed_args": declared.interspersed}
    words: dict[str, Any] = {
        "name": declared.name,
        "params": [_parameter(one) for one in declared.parameters],
        "callback": _callback(declared.function),
        "help": cleandoc(declared.help),
        "context_settings": settings,
    }
    if isinstance(declared, Group):
        return _ClickedGroup(declared, epilog=declared.epilog or None, no_args_is_help=False, **words)
    assert isinstance(declared, Command)
    return _ClickedCommand(declared, **words)


def _callback(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(**words: object) -> object:
        return function(click.get_current_context().find_object(Session), **words)

    return call


def _parameter(one: Parameter) -> click.Parameter:
    words: dict[str, Any] = {**one.words, "type": _type(one)}
    if one.apply is not None:
        words |= {"expose_value": False, "callback": _applying(one)}
    if isinstance(one, Argument):
        return click.Argument(list(one.declarations), **words)
    return click.Option(list(one.declarations), **words)


def _applying(one: Parameter) -> Callable[[click.Context, click.Parameter, Any], None]:
    def apply(context: click.Context, _: click.Parameter, value: object) -> None:
        session = context.find_object(Session)
        if session is None or one.apply is None or not value or (one.ends and context.resilient_parsing):
            return
        one.apply(session, value)
        if one.ends:
            context.exit()

    return apply


def _type(one: Parameter) -> Any:  # noqa: ANN401 - generic since click 8.4
    kind = one.kind
    if isinstance(kind, Choice):
        return click.Choice(list(kind.choices))
    if isinstance(kind, Range):
        words: dict[str, Any] = {"min": kind.min, "max": kind.max, "min_open": kind.min_open}
        return click.IntRange(**words) if kind.number is int else _FiniteRange(**words)
    if isinstance(kind, FilePath):
        return _GivenPath()
    if kind is RAW:
        return click.UNPROCESSED
    is_flag = isinstance(one, Option) and not one.takes_value
    return None if kind.empty or is_flag else _GivenText()


class _FiniteRange(click.FloatRange):
    """A range without infinity and what is not a number, which compares with no bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        found = super().convert(value, param, ctx)
        if not isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class _GivenText(click.types.StringParamType):
    """A text that is not empty if it was given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        _refuse_empty(self, value, param, ctx)
        return super().convert(value, param, ctx)


class _GivenPath(click.Path):
    """A path that is not empty if it was given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        _refuse_empty(self, value, param, ctx)
        return super().convert(value, param, ctx)


def _refuse_empty(
    kind: click.ParamType[Any], value: object, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    """Refuse an empty word. Defaults come here too, and may be empty."""
    if value != "" or param is None or ctx is None or param.name is None:
        return
    if ctx.get_parameter_source(param.name) is not click.core.ParameterSource.DEFAULT:
        kind.fail("is empty", param, ctx)


class _WithHelp(click.Command):
    """A command whose help is written with our own output, which knows what a reader who goes means."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """See click."""
        return click.Option(
            self.get_help_option_names(ctx),
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this message and exit.",
        )


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        write_text(f"{ctx.get_help()}\n")
        ctx.exit()


class _ClickedCommand(_WithHelp):
    """A command that lists its exit statuses at the end of its help."""

    def __init__(self, declared: Command, **words: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(**words)
        self.declared = declared

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; the session learns which command this is, and to speak JSON, even if parsing fails."""
        session = ctx.find_object(Session)
        if session is None:
            return super().parse_args(ctx, args)
        session.command = self.declared
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            session.json = session.json or ("--json" in words and self.declared.has_option("--json"))
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses."""
        super().format_epilog(ctx, formatter)
        rows = [(str(status), text) for status, text in self.declared.statuses()]
        if self.declared.any_status:
            rows.insert(0, ("any", "that of the command in the container; 128 and N when signal N ended it"))
        with formatter.section("Exit statuses"):
            formatter.write_dl(rows)


class _ClickedGroup(_WithHelp, click.Group):
    """A group that imports a command's module when the command is asked for."""

    def __init__(self, declared: Group, **words: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(**words)
        self.declared = declared

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return list(self.declared.entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None when there is none."""
        found = self.declared.find(cmd_name)
        return None if found is None else clicked(found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without importing what it speaks of."""
        entries = self.declared.entries()
        width = max(map(len, entries))
        for title, section in self.declared.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.short) for name, entry in section.items()])
