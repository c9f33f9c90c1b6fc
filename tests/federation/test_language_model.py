"""One round with the real language model: slow, since it reads 135 M parameters and trains them."""

import json
from pathlib import Path

import pytest

from airtune import load_scenario, run

SCENARIO = """
name: one-round
rounds: 1
task: {name: gsm_symbolic, train_examples: 64, test_examples: 8, calibration_examples: 8}
training: {steps: 2, batch_size: 4}
clients:
  - {id: nano, device: jetson-nano, distance: 400 m}
  - {id: laptop, device: laptop-2-core, distance: 100 m}
"""


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["depth", "width"])
def test_smollm2_learns_in_one_round(reduction: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    scenario = load_scenario(tmp_path / "scenario.yaml", reduction=reduction)
    folder = run(scenario, tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    assert 1.0 < summary["loss_after"] < summary["loss_before"] < 2.0
    assert summary["simulated_s"] <= summary["fedit_s"]
