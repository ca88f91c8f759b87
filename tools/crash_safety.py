#!/usr/bin/env python3
"""Print docs/design/crash-safety.md, made from the trace points; `--write` writes the file.

The tables are made from arstore/trace.py. A test asserts that the file is up to date.
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

Generated from `arstore/trace.py` by `tools/crash_safety.py --write`; a test checks that they agree.

arstore may die at any moment: by SIGKILL, because memory runs out, or with the machine. It never needs manual repair
afterwards. There is no journal and no recovery at start. The order of the steps makes a crash safe.

## The protocol

1. **Nothing gets a name before it is verified and durable.** Work in flight is in an *ingest*, a directory whose name
   identifies the process that it belongs to, so every file in flight always has a known owner. Blobs are verified and
   synced there. Then one write transaction of the graph gives everything its name: files are renamed into place and
   their directories synced inside the transaction, and its commit, an fsync, is the moment at which the image exists.
   Removal has the opposite order: records first, then files. So every record has its file. A crash may leave files
   without a record, which are never read, and which the collector deletes.
2. **A tree can always be thrown away.** It is a cache of its blob, and is not synced at once: its record has the boot
   in which it was written, and whether a later sync has covered it. After an unclean boot, a tree that was not covered
   is rebuilt at its next use. A tree that is to be replaced first loses its trust, in a separate transaction; then
   names are exchanged and the record is written, in another one.
3. **No lock outlives its process.** LMDB's writer lock is a robust mutex, and claims on layers and mount records are
   file locks. Everything that has an owner (ingests, leases, containers of a `run`, unfinished files) names it by pid,
   start time and boot, so no timer decides whether a process is alive. No lock is held while bytes move, so a crash
   never blocks another process.
4. **A process that starts another one also ends it.** Workers and keepers have asked the kernel to be killed with their
   parent (PR_SET_PDEATHSIG). A container's processes and mounts live in namespaces that end with its keeper. Everything
   that the kernel keeps, control groups and permanent mounts, is recorded before it is made, and found by its record.
5. **Everything can be repeated.** A command that was killed can simply be given again: finished work is found and costs
   nothing, and unfinished work is garbage. The exceptions are results that the user may have seen: a container that was
   mounted under a name keeps the name, and a directory that was being unpacked has to be emptied by the user.

`gc` collects the leftovers; run it at any time, nothing depends on it. `index.json` is a copy of the graph for other
tools. It may be older than the graph until the next change, or `gc`, writes it.

## Consequences of a crash, step by step

Each step has a name in the code, a *trace point*. The points of an area are listed in the order in which a process
passes them; most commands pass several areas. `tools/reliability kills` kills at each of them
([reliability.md](reliability.md)).
"""


def document() -> str:
    """The whole text of the file."""
    parts = [HEAD]
    for area, points in trace.AREAS.items():
        parts.append(f"\n### {area}\n\n| point | step just done | consequence of a crash here |\n|---|---|---|\n")
        parts += [f"| `{name}` | {point.done} | {point.then} |\n" for name, point in points.items()]
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main(document(), TARGET))
