"""Click commands, made from the declarations, for help, usage errors, and lines that are not plain.

A plain command line needs none of this (see `line`).
"""

from __future__ import annotations

from inspect import cleandoc
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from arstore.cli.command import Command, Declared, shared_statuses
from arstore.cli.group import Group
from arstore.cli.parameter import OFF, ON, RAW, Argument, Choice, FilePath, Option, Parameter, Range
from arstore.cli.session import Session
from arstore.cli.terminal.output import write_text
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_SHARED = "shared by all commands except run and exec"
WIDEST = 102
"""Columns of a terminal from which on help gets no wider. click leaves two of them free."""
_OFF = "arstore.off"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDEST}


def run(program: Group, session: Session, words: list[str]) -> int:
    """Run the command line *words* and return the exit status.

    click's own `main` is not used, because it handles interrupts and broken pipes in its own way.

    Raises UsageError, KeyboardInterrupt, and the errors of the command.
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


def from_click(error: click.ClickException) -> UsageError:
    """Return a UsageError for an error of click."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else ""
    what = path.partition(" ")[2]
    if isinstance(error, click.NoSuchOption) and context is not None:
        from arstore.cli.foreign.answers import to_option

        answer = to_option(what, error.option_name)
        if answer is not None:
            return UsageError(*answer)
        if error.possibilities:
            hint = f"did you mean `{error.possibilities[0]}`?"
            return UsageError(what, f"no such option '{error.option_name}'", hint)
    why = " ".join(error.format_message().split()).rstrip(".")
    why = why[:1].lower() + why[1:]
    is_missing, is_extra = isinstance(error, click.MissingParameter), why.startswith("got unexpected extra argument")
    if is_missing or is_extra:
        from arstore.cli.foreign.answers import to_count

        hint = to_count(what, too_many=is_extra)
        if hint:
            return UsageError(what, why, hint)
    return UsageError(what, why, f"see `{path or 'arstore'} --help`")


def clicked(declared: Declared) -> click.Command:
    """Return the click command or group for a declaration. click cleans the indentation of its help."""
    settings: dict[str, Any] = {**_SETTINGS, "allow_interspersed_args": declared.interspersed}
    words: dict[str, Any] = {
        "name": declared.name,
        "params": [_parameter(one) for one in declared.parameters],
        "callback": _callback(declared),
        "help": cleandoc(declared.help),
        "context_settings": settings,
    }
    if isinstance(declared, Group):
        alone = {"no_args_is_help": False, "invoke_without_command": declared.shows_help_alone}
        return _ClickedGroup(declared, epilog=declared.epilog or None, **alone, **words)
    assert isinstance(declared, Command)
    return _ClickedCommand(declared, **words)


def _callback(declared: Declared) -> Callable[..., Any]:
    def call(**words: object) -> object:
        context = click.get_current_context()
        session = context.find_object(Session)
        if isinstance(declared, Command) and session is not None:
            declared.begin(session)
        result = declared.function(session, **words)
        if isinstance(declared, Group) and context.invoked_subcommand is None:
            write_text(f"{context.get_help()}\n")
        return result

    return call


def _parameter(one: Parameter) -> click.Parameter:
    words: dict[str, Any] = {**one.words, "type": _type(one)}
    if one.apply is not None:
        words |= {"expose_value": False, "callback": _applying(one)}
    if isinstance(one, Argument):
        return click.Argument(list(one.declarations), **words)
    made = _Switch if isinstance(one, Option) and one.is_switch else click.Option
    return made(list(one.declarations), **words)


class _Switch(click.Option):
    """An option without a value that takes `=true` and `=false` all the same; `_without_values` has removed these."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401
        """See click."""
        found = super().process_value(ctx, value)
        return False if self.name in ctx.meta.get(_OFF, ()) else found


def _without_values(declared: Command, words: list[str], ctx: click.Context) -> list[str]:
    """Return *words* with plain switches in place of those with a value; remember in *ctx* which are off at the end."""
    options = [one for one in declared.parameters if isinstance(one, Option)]
    switches = {name: one for one in options if one.is_switch for name in one.names}
    found = list(words)
    states: dict[str, bool] = {}
    for place, word in enumerate(words):
        if word == "--" or (not declared.interspersed and _is_argument(options, words, place)):
            break
        name, equals, value = word.partition("=")
        one = switches.get(name)
        if one is not None and (not equals or value in {ON, OFF}):
            found[place] = name
            states[one.name] = value != OFF
    ctx.meta[_OFF] = frozenset(name for name, is_on in states.items() if not is_on)
    return found


def _is_argument(options: list[Option], words: list[str], place: int) -> bool:
    """Whether the word at *place* is neither an option nor the value of the option before it."""
    if words[place][:1] == "-":
        return False
    before = words[place - 1] if place else ""
    return not any(one.takes_value and (before in one.names or _ends_with(one, before)) for one in options)


def _ends_with(one: Option, word: str) -> bool:
    """Whether *word* is a cluster of short options whose last is *one*."""
    return word[:1] == "-" and word[:2] != "--" and f"-{word[-1]}" in one.names


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
    """A range that excludes infinity and NaN (NaN passes every comparison with a bound)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        found = super().convert(value, param, ctx)
        if not isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class _GivenText(click.types.StringParamType):
    """A text that must not be empty if it was given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        _refuse_empty(self, value, param, ctx)
        return super().convert(value, param, ctx)


class _GivenPath(click.Path):
    """A path that must not be empty if it was given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See click."""
        _refuse_empty(self, value, param, ctx)
        return super().convert(value, param, ctx)


def _refuse_empty(
    kind: click.ParamType[Any], value: object, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    """Refuse an empty word, but not an empty default: click converts defaults too."""
    if value != "" or param is None or ctx is None or param.name is None:
        return
    if ctx.get_parameter_source(param.name) is not click.core.ParameterSource.DEFAULT:
        kind.fail("is empty", param, ctx)


class _WithHelp(click.Command):
    """A command whose help is written with our own output functions, which handle a closed pipe."""

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
    """A command whose help ends with its exit statuses."""

    def __init__(self, declared: Command, **words: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(**words)
        self.declared = declared

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; the session gets the command and --json even if that fails, to print the error."""
        session = ctx.find_object(Session)
        args = _without_values(self.declared, args, ctx)
        if session is None:
            return super().parse_args(ctx, args)
        session.command = self.declared
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            session.json = session.json or ("--json" in words and self.declared.has_option("--json"))
            _refuse_surplus(ctx, words)
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses that not all commands share."""
        super().format_epilog(ctx, formatter)
        rows = _rows(self.declared.own_statuses())
        if self.declared.any_status:
            rows.insert(0, ("any", "that of the command in the container; 128 + N if signal N ended it"))
        else:
            rows.append(("other", "shared by all commands; see `arstore --help`"))
        with formatter.section("Exit statuses"):
            formatter.write_dl(rows)


def _refuse_surplus(ctx: click.Context, words: list[str]) -> None:
    """Raise UsageError if the first argument makes the line a command of another tool, such as `images ls`."""
    from arstore.cli.foreign.answers import to_surplus

    path = ctx.command_path.partition(" ")[2]
    answer = to_surplus(path, words[0]) if words else None
    if answer is not None:
        raise UsageError(*answer)


def _rows(statuses: list[tuple[int, str]]) -> list[tuple[str, str]]:
    return [(str(status), meaning) for status, meaning in statuses]


class _ClickedGroup(_WithHelp, click.Group):
    """A group that imports the module of a command only when the command is looked up."""

    def __init__(self, declared: Group, **words: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(**words)
        self.declared = declared

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self.declared.entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command called *cmd_name*, and import its module; None if the name is unknown."""
        found = self.declared.find(cmd_name)
        return None if found is None else clicked(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click. An unknown command that another tool has is answered with ours. Raises UsageError."""
        if not ctx.resilient_parsing and self.declared.entries().get(args[0]) is None:
            session = ctx.find_object(Session)
            if session is not None:
                session.json = session.json or "--json" in args
            self._refuse(ctx, args)
        return super().resolve_command(ctx, args)

    def _refuse(self, ctx: click.Context, args: list[str]) -> None:
        from arstore.cli.foreign.answers import to_command

        root = ctx.find_root().command
        assert isinstance(root, _ClickedGroup)
        above = ctx.command_path.split()[1:]
        answer = to_command([*above, *args], root.declared.entries().keys())
        if answer is not None:
            raise UsageError(*answer)
        from difflib import get_close_matches

        near = get_close_matches(args[0], self.declared.entries(), 1)
        if near:
            path = " ".join([ctx.command_path, near[0]])
            raise UsageError(" ".join(above), f"no such command '{args[0]}'", f"did you mean `{path}`?")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        entries = self.declared.entries()
        width = max(map(len, entries))
        for title, section in self.declared.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.short) for name, entry in section.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog and, for the program itself, the exit statuses that all commands share."""
        super().format_epilog(ctx, formatter)
        if ctx.parent is None:
            with formatter.section(f"Exit statuses {_SHARED}"):
                formatter.write_dl(_rows(shared_statuses()))
