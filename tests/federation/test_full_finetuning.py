"""Full fine-tuning: the projections' own weights are trained, merged and saved as a model's folder."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from airtune import Scenario, run
from airtune.learning.evaluation import evaluate
from airtune.learning.local_data import round_batches, test_set
from airtune.learning.models import load_base, prepare
from airtune.results.events import read_events

test_set.__test__ = False  # pytest would take the imported function for a test
PROJECTION = re.compile(r"layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight")


@pytest.fixture
def full(tiny: Scenario) -> Scenario:
    training = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3}
    return Scenario.model_validate(tiny.model_dump() | {"lora": {"rank": "full"}, "training": training})


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


def base_model() -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(prepare("tiny"), dtype=torch.float32)


def test_full_clients_alone_are_fedavg(full: Scenario, tmp_path: Path) -> None:
    """Plain FedAvg of all projections' weights with torch alone, on the same batches, from the same start."""
    shares = {"slow": 0.1, "fast": 0.4}
    groups = [group | {"share": shares[group["id"]]} for group in full.model_dump()["clients"]]
    exact = {"format": "float32", "download": "float32"}
    scenario = changed(full, method="fedit", rounds=2, clients=groups, payload=exact)
    folder = run(scenario, tmp_path / "run")

    model = base_model().requires_grad_(False)
    parameters = {name: one for name, one in model.named_parameters() if PROJECTION.search(name)}
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    shared = start
    for round_number in (1, 2):
        merged = {name: torch.zeros_like(matrix, dtype=torch.float64) for name, matrix in start.items()}
        for client, weight in enumerate((0.1, 0.1, 0.4, 0.4)):
            for name, parameter in parameters.items():
                parameter.data = shared[name].clone()
                parameter.requires_grad_(True)
            optimiser = torch.optim.AdamW(parameters.values(), lr=1e-3, weight_decay=0.0)
            for batch in round_batches(scenario, client, round_number, 2):
                optimiser.zero_grad()
                model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
                ).loss.backward()
                optimiser.step()
            for name, parameter in parameters.items():
                merged[name] += weight * parameter.data.double()
        shared = {name: matrix.float() for name, matrix in merged.items()}

    found = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).state_dict()
    for name, before in base_model().state_dict().items():
        if name not in shared:
            assert torch.equal(found[name], before), name
            continue
        moved = (shared[name] - before).norm()
        assert (found[name] - shared[name]).norm() < 2e-3 * moved, name


@pytest.mark.parametrize("reduction", [{"reduction": "width", "criterion": "flap"}, {"reduction": "mixed"}])
def test_the_saved_model_has_the_loss_of_the_last_round(
    reduction: dict[str, str], full: Scenario, tmp_path: Path
) -> None:
    folder = run(changed(full, rounds=2, prune_max=0.9, **reduction), tmp_path / "run")
    *_, last, _ = read_events(folder / "events.jsonl")
    assert any(row["prune"] > 0.2 for row in last["clients"])
    assert not (folder / "adapter").exists()
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    loss = evaluate(model, test_set(full)[0], tokenizer.pad_token_id).mean()
    assert loss == pytest.approx(last["loss"], abs=1e-5)
    start = read_events(folder / "events.jsonl")[0]
    assert last["loss"] < start["loss"]


def test_the_base_stays_as_it_is(full: Scenario, tmp_path: Path) -> None:
    base = load_base("tiny").model
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    folder = run(changed(full, rounds=1), tmp_path / "run")
    after = base.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.isfinite(read_events(folder / "events.jsonl")[-2]["loss"])
