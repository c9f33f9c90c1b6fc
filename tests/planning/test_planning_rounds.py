"""Error curves and rounds to target."""

import subprocess
import sys

import numpy as np
import pytest

from airtune.planning import ErrorPower, ErrorTable, Rounds


def test_rounds_grow_with_error_up_to_infinity() -> None:
    rounds = Rounds(20.0, 0.8, ErrorPower(2.0))
    assert rounds.count([0.0, 0.5, 1.0, 1.25, 2.0]) == pytest.approx([20, 20 / 0.6, 100, np.inf, np.inf])


def test_known_error_can_be_folded_into_the_rounds() -> None:
    rounds = Rounds(20.0, 0.8, ErrorPower(2.0))
    assert rounds.given(0.3).count([0.0, 0.2, 0.9]) == pytest.approx(rounds.count([0.3, 0.5, 1.2]))


def test_a_table_is_linear_between_its_points() -> None:
    curve = ErrorTable(np.array([0, 0.5, 1]), np.array([0, 0.1, 0.9]))
    assert curve([0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0, 0.05, 0.1, 0.5, 0.9])


def test_planning_imports_little() -> None:
    heavy = "torch transformers flwr pandas scipy.optimize scipy.special plotly pydantic yaml"
    script = f"import sys, airtune.planning; print([m for m in '{heavy}'.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
