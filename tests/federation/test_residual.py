"""What clients keep between rounds: in their context, or in files that survive them."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from airtune.federation.residual import keep_residual, residual_before


def context(state: Path | None) -> Context:
    config = {} if state is None else {"state": str(state)}
    return Context(1, node_id=5, node_config={"partition-id": 3}, state=RecordDict(), run_config=config)


@pytest.mark.parametrize("files", [False, True])
def test_what_is_kept_is_there_in_the_next_round(files, tmp_path):
    client = context(tmp_path if files else None)
    assert residual_before(client, 1) is None
    for number in (1, 2, 5):
        keep_residual(client, number, {"a": np.full((2, 3), number, np.float32)})
    found = residual_before(client, 6)
    assert found.keys() == {"a"}
    assert (found["a"] == 5).all()


def test_a_client_that_is_started_again_repeats_its_round_from_what_it_had_before(tmp_path):
    for number in (1, 2, 4):
        keep_residual(context(tmp_path), number, {"a": np.full(2, number, np.float32)})
    assert (residual_before(context(tmp_path), 4)["a"] == 2).all()
    keep_residual(context(tmp_path), 4, {"a": np.full(2, 9, np.float32)})
    assert (residual_before(context(tmp_path), 5)["a"] == 9).all()
    assert sorted(path.name for path in (tmp_path / "3").iterdir()) == ["2.safetensors", "4.safetensors"]
