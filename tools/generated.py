"""Files of the documentation that are made by a program: printed, or with `--write` put in their place."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def main(text: str, target: Path) -> int:
    """The command line of a program that makes *text*, whose place is *target*."""
    parser = argparse.ArgumentParser(description=f"Print {target.name} as it has to be.")
    parser.add_argument("--write", action="store_true", help="write the file instead")
    if parser.parse_args().write:
        target.write_text(text)
    else:
        print(text, end="")
    return 0
