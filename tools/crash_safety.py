#!/usr/bin/env python3
"""Print docs/design/crash-safety.md as the trace points say it; `--write` puts it into its file.

The tables are made from arstore/trace.py, and a test asserts that the file agrees.
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from generated import main  # noqa: E402

from arstore import trace  # noqa: E402 - the checkout need not be installed

TARGET = CHECKOUT / "docs" / "design" / "crash-safety.md"

HEAD = """# Crash safety

Made by `tools/crash_safety.py --write` from `arstore/trace.py`; a test asserts that the two agree.

arstore may die at any moment: by SIGKILL, because memory is short, with the machine. Nothing is left to be done by
hand then. There is no journal and no recovery at start; what makes that so is the order in which things are done.

## The protocol

1. **Nothing has a name before it is verified and durable.** What is in flight lies in an *ingest*, a directory whose
   name tells the process that it belongs to, so that there is no moment at which it exists and cannot be attributed.
   Blobs are verified and synced there. One write transaction of the graph then gives all of it its names: files are
   renamed into place and their directories synced inside the transaction, and its commit, an fsync, is the moment at
   which the image is there. Removal goes the other way round: records first, then files. So a record never lacks its
   file; what a death leaves are files without a record, which nobody reads, and which the collector takes.
2. **A tree may always be thrown away.** It is a cache of its blob, and is not synced on the way: its record names the
   boot in which it was written, and whether a later sync has covered it. After an unclean boot a tree that was not
   covered is built again at its next use. A tree that is to be replaced loses its trust first, in a transaction of
   its own; then names are exchanged and the record is written, in another one.
3. **No lock outlives its process.** LMDB's writer lock is a robust mutex, claims on layers and mount records are
   locks of files, and what names an owner (ingests, leases, containers of a `run`, unfinished files) names it by pid,
   start time and boot: no timer decides whether somebody is alive. Nothing is held while bytes move, so a death
   blocks nobody.
4. **Who starts a process ends it.** Workers and keepers have asked the kernel to be killed with their parent
   (PR_SET_PDEATHSIG). A container's processes and mounts live in namespaces that end with its keeper. What the kernel
   keeps all the same, control groups and mounts that were made to last, is recorded before it is made, and found by
   its record.
5. **Everything can be done again.** A command that was killed is simply given again: what it had finished is found
   and costs nothing, what it had not is garbage. The exceptions are what a person may have seen by then: a container
   that was mounted under a name keeps the name, and a directory that was being unpacked is the user's to empty.

`gc` takes what is left, whenever it comes; nothing waits for it. `index.json` is a copy of what the graph says, for
other tools, and may be older than the graph until the next change, or `gc`, writes it.

## If it dies here

Every step has a name in the code, a *trace point*. The points of an area stand in the order in which they are passed;
most commands pass several areas. `tools/reliability kills` kills at each of them ([reliability.md](reliability.md)).
"""


def document() -> str:
    """The whole text of the file."""
    parts = [HEAD]
    for area, points in trace.AREAS.items():
        parts.append(f"\n### {area}\n\n| point | what has just been done | if it dies here |\n|---|---|---|\n")
        parts += [f"| `{name}` | {point.done} | {point.then} |\n" for name, point in points.items()]
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main(document(), TARGET))
