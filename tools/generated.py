"""Documentation files that a program makes: print one, or with `--write` write the file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def main(text: str, target: Path) -> int:
    """The command line of a program that makes *text*, the content of the file *target*."""
    parser = argparse.ArgumentParser(description=f"Print the generated {target.name}.")
    parser.add_argument("--write", action="store_true", help="write the file instead")
    if parser.parse_args().write:
        target.write_text(text)
    else:
        print(text, end="")
    return 0
