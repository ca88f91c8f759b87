"""Commands of pages, typed as they are there: `arstore` is a script that adds the store, and what a test has to add."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Arstore


def typed(store: Arstore, code: str, place: Path, insecure: bool = False, timeout: float = 120) -> str:
    """Run the lines of *code* in the directory *place*, and return their output; fails with stderr if one fails.

    *insecure*: commands that speak to a registry get --tls-verify=false.
    """
    scripts = place.parent / f"{place.name}-bin"
    scripts.mkdir(exist_ok=True)
    place.mkdir(exist_ok=True)
    words = " ".join(map(str, store.words()))
    more = '\ncase " $* " in *docker://*|*" pull "*|*" list-tags "*) set -- "$@" --tls-verify=false;; esac'
    (scripts / "arstore").write_text(f'#!/bin/sh{more if insecure else ""}\nexec {words} "$@"\n')
    # No other host: what is sent there stays here.
    (scripts / "ssh").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    for script in scripts.iterdir():
        script.chmod(0o755)
    environment = store.environment(PATH=f"{scripts}:{os.environ['PATH']}")
    done = subprocess.run(
        ["sh", "-ec", code],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout
