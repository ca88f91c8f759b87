"""Detection and repair of damage.

    findings     kinds of findings
    quick        quick: the graph, sizes, and existence
    graph        the graph's pages and records, and records against the documents that they were made from
    blobs trees  deep: every byte of the store
    affected     images that a finding affects
    run          `check`: everything, in parallel processes
    repair       `repair`: from an intact blob, the graph, or another source

Nothing is locked while bytes are read. So content that was removed or replaced in the meantime is not a finding.
"""

from __future__ import annotations

from arstore.maintenance.check.affected import HitImage, affected
from arstore.maintenance.check.findings import HARMLESS, Damage, Finding
from arstore.maintenance.check.repair import repair
from arstore.maintenance.check.run import check, extent

__all__ = ["HARMLESS", "Damage", "Finding", "HitImage", "affected", "check", "extent", "repair"]
