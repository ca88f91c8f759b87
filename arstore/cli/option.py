"""Options of commands, and the option for help: as click's, but a help is taken as it is written.

click cleans the indentation of every help that it is given, and reads the module `inspect` for that (see `deferred`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import click

from arstore.cli.terminal.output import write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")


def option(*declarations: str, help: str, **more: object) -> Callable[[FC], FC]:
    """Decorate a command with an option; the words are click's. The help is one paragraph without indentation."""

    def decorate(command: FC) -> FC:
        decorated = click.option(*declarations, **cast("dict[str, Any]", more))(command)
        parameters = decorated.params if isinstance(decorated, click.Command) else vars(decorated)["__click_params__"]
        parameters[-1].help = help
        return decorated

    return decorate


class WithHelp(click.Command):
    """A command with the option for help."""

    _own_help: click.Option | None = None

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option, made once; None when the command is to have none."""
        names = self.get_help_option_names(ctx)
        if not names or not self.add_help_option:
            return None
        if self._own_help is None:
            self._own_help = click.Option(
                list(names), is_flag=True, is_eager=True, expose_value=False, callback=_show_help
            )
            self._own_help.help = "Show this message and exit."
        return self._own_help


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        write_text(f"{ctx.get_help()}\n")
        ctx.exit()
