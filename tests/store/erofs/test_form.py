"""The form `erofs`: the contract of trees, without a mount."""

from __future__ import annotations

from store.tree_contract import TreeContract

from arstore.store.erofs.form import ErofsFormat


class TestErofs(TreeContract):
    form = ErofsFormat()
