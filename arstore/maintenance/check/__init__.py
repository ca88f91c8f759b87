"""Looking for damage, and mending it.

    findings     what can be found
    structure    quick: the graph, sizes, and that things exist
    graph        the graph's own pages and records, and the records against the documents that they were made from
    blobs trees  deep: every byte of what the store holds
    affected     which images a finding hits
    examination  `check`: all of it, in processes
    repair       `repair`: what an intact blob, the graph or another source can mend

Nothing is held while bytes are read, so what was removed or replaced meanwhile is no finding.
"""

from __future__ import annotations

from arstore.maintenance.check.affected import HitImage, affected
from arstore.maintenance.check.check import check, extent
from arstore.maintenance.check.findings import HARMLESS, Damage, Finding
from arstore.maintenance.check.repair import repair

__all__ = ["HARMLESS", "Damage", "Finding", "HitImage", "affected", "check", "extent", "repair"]
