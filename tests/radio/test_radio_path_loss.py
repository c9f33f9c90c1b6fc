"""Path loss against its defining points."""

import numpy as np
import pytest

from airtune.radio import urban_macro_db


def test_known_distances() -> None:
    assert urban_macro_db(1000.0) == pytest.approx(128.1)
    assert urban_macro_db([100.0, 10_000.0]) == pytest.approx([90.5, 165.7])


def test_grows_by_37_6_db_a_decade() -> None:
    distance = np.geomspace(10, 1e4, 7)
    assert np.diff(urban_macro_db(distance)) == pytest.approx(np.full(6, 37.6 / 2))
