"""`completion`: print the script with which a shell completes command lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option, unconfigured
from arstore.cli.completion.scripts import SCRIPTS
from arstore.cli.parameter import Choice, argument
from arstore.cli.terminal.output import write_json, write_text

if TYPE_CHECKING:
    from arstore.cli.session import Session


@unconfigured
@exit_statuses()
@command("completion")
@argument("shell", metavar="bash|zsh|fish", type=Choice(SCRIPTS))
@json_option
def completion(session: Session, shell: str) -> None:
    """Print a script that completes command lines in a shell.

    It completes commands, options, their values, transports, files, and the images, containers, mounts and registries
    that this user can see. To install it for one user:

    \b
    bash: add `eval "$(arstore completion bash)"` to ~/.bashrc
    zsh:  write it to a file named _arstore in a directory of fpath
    fish: write it to ~/.config/fish/completions/arstore.fish

    \b
    For all users, write it to
    bash: /usr/share/bash-completion/completions/arstore
    zsh:  /usr/share/zsh/vendor-completions/_arstore
    fish: /usr/share/fish/vendor_completions.d/arstore.fish

    Examples:

    arstore completion bash > ~/.local/share/bash-completion/completions/arstore

    arstore completion fish > ~/.config/fish/completions/arstore.fish
    """
    if session.json:
        write_json({"shell": shell, "script": SCRIPTS[shell]})
    else:
        write_text(SCRIPTS[shell])
