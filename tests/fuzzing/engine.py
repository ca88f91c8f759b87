"""`python -m fuzzing.engine TARGET FINDINGS [LIBFUZZER OPTION...]`: one target under atheris, in this process.

TARGET is the name of a target, or `MODULE:VARIABLE`.

An exception that is not documented does not end the run: its input goes into the directory FINDINGS, once for each
place that raises it, and each occurrence is a line of `FINDINGS/log`. If the process ends (by a signal, lack of
memory, a time limit), libFuzzer leaves its artifact there.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import os
import random
import sys
import traceback
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from fuzzing.target import Target

_UNINSTRUMENTED = ("arstore.trees.erofs.format",)
"""A checksum in a loop over bytes: as many branches as bytes, and no faults to find."""
_EROFS = "arstore.trees.erofs."
_UNFOLLOWED = {
    "erofs-builder": [_EROFS + name for name in ("verification", "reader")],
    "erofs-merge": [_EROFS + name for name in ("image", "attributes", "directories", "inodes", "superblock")],
}
"""Modules by target that are not followed: they have their own target, or only judge the output of this one."""


def load(name: str) -> Target:
    """Return the target *name*, with all its imports instrumented, late imports too."""
    with atheris.instrument_imports(include=["arstore"], exclude=[*_UNINSTRUMENTED, *_UNFOLLOWED.get(name, ())]):
        from fuzzing import checksum

        checksum.install()
        module, _, variable = name.rpartition(":")
        if module:
            target: Target = getattr(importlib.import_module(module), variable)
        else:
            from fuzzing.targets import TARGETS

            target = TARGETS[name]
        for seed in target.seeds():
            target(seed)
    # Objects that exist now never become garbage.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    return target


def watched(target: Target, findings: str) -> object:
    """Return *target* as a function that libFuzzer calls."""
    log = os.open(f"{findings}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    known: set[str] = set()

    def one(data: bytes) -> None:
        try:
            target(data)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} {os.path.basename(last.filename)}:{last.lineno}"
            os.write(log, f"{place}\n".encode())
            if place not in known:
                known.add(place)
                label = hashlib.sha256(data).hexdigest()[:16]
                with open(f"{findings}/found-{label}", "wb") as file:
                    file.write(data)
                with open(f"{findings}/found-{label}.txt", "w", encoding="utf-8") as text:
                    traceback.print_exception(error, file=text)

    return one


def main(words: list[str]) -> None:
    """Run until libFuzzer ends the process."""
    name, findings, *options = words
    target = load(name)
    mutator = target.mutator
    more = {}
    if mutator is not None:
        chance = random.Random()

        def mutated(data: bytes, most: int, seed: int) -> bytes:
            chance.seed(seed)
            return mutator(bytes(data), most, chance, atheris.Mutate)

        more["custom_mutator"] = mutated
    atheris.Setup([sys.argv[0], *options], watched(target, findings), **more)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
