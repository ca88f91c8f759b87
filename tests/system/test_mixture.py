"""Many processes on one store: a short run of the exercise `mixture`."""

from __future__ import annotations

import pytest
from reliability import mixture
from reliability.mixture import Mixture, figures

pytestmark = [pytest.mark.root, pytest.mark.mounts]


def test_a_short_mixture(tmp_path):
    made = Mixture(tmp_path, 8, seed=11)
    made.run(6, 6)
    assert made.faults == []
    assert figures(made)[-1].met
    assert made.quiet == 1


@pytest.mark.long
def test_a_long_mixture(tmp_path):
    assert mixture.main(["--minutes", "10", "--directory", str(tmp_path)]) == 0
