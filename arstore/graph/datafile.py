"""LMDB's data file: its name, and the sizes of the map through which it is read."""

from __future__ import annotations

DATA = "data.mdb"

MAP_SIZE = 16 << 30
"""Address space reserved for the environment, in bytes; the file grows only as it is written."""

HALVINGS = 14
"""How often that size may be halved where address space is limited: down to 1 MiB."""

DAMAGE_HINT = "`arstore check` shows more; with --repair it rebuilds the graph"
