"""FLoRA: what is merged into the model in every round, and what its stacks cost."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from stopping import Stop
from torch import nn
from transformers import AutoModelForCausalLM

from airtune import Scenario, run
from airtune.costs.count import download_bytes, upload_bytes
from airtune.federation.setting import make_setting
from airtune.learning.evaluation import evaluate
from airtune.learning.local_data import round_batches, test_set
from airtune.learning.models import load_base, prepare
from airtune.pruning.measured import measured_path
from airtune.pruning.path import Reduction
from airtune.pruning.stacking import fresh_adapter
from airtune.results.events import read_events

test_set.__test__ = False  # pytest would take the imported function for a test


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


def model_in(place: Path | str) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)


def test_a_client_alone_trains_fresh_adapters_and_merges_them_again_and_again(tiny, tmp_path):
    """The same with PEFT and torch alone: `merge_and_unload` after every round."""
    alone = tiny.model_dump()["clients"][1] | {"count": 1}
    exact = {"format": "float32", "download": "float32"}
    scenario = changed(tiny, method="flora", rounds=2, clients=[alone], payload=exact)
    folder = run(scenario, tmp_path / "run")

    full, lora = measured_path(scenario).path.full, scenario.lora
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.projections))
    model, start = model_in(prepare("tiny")), model_in(prepare("tiny")).state_dict()
    for number in (1, 2):
        adapted = get_peft_model(model, config)
        fresh = fresh_adapter(full, Reduction.none(full), scenario.seed, number, 0)
        parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                named = name.replace("base_model.model.", "", 1).replace(".default", "")
                parameter.data = torch.tensor(fresh[named])
        optimiser = torch.optim.AdamW(parameters, lr=scenario.training.learning_rate, weight_decay=0.0)
        for batch in round_batches(scenario, 0, number, scenario.training.steps):
            optimiser.zero_grad()
            adapted(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
            ).loss.backward()
            optimiser.step()
        model = adapted.merge_and_unload()
    found, expected = model_in(folder / "model").state_dict(), model.state_dict()
    for name, before in start.items():
        moved = (expected[name] - before).norm()
        assert (moved > 0) == name.endswith("_proj.weight"), name
        assert (found[name] - expected[name]).norm() <= 2e-3 * moved, name


@pytest.fixture(scope="module")
def stacked(tiny, tmp_path_factory) -> Path:
    return run(changed(tiny, method="flora"), tmp_path_factory.mktemp("stacked") / "run")


def test_the_stack_is_what_is_downloaded_planned_and_clocked(tiny, stacked):
    scenario = changed(tiny, method="flora")
    setting = make_setting(scenario, measured_path(scenario))
    full, rounds = (
        setting.measured.path.full,
        [e for e in read_events(stacked / "events.jsonl") if "clients" in e],
    )
    for event in rounds[-3:]:
        own = setting.submodels(event["round"])
        rank = full.rank if event["round"] == 1 else sum(one.rank for one in own)
        for row, reduction in zip(event["clients"], own, strict=True):
            assert row["bytes_down"] == download_bytes(replace(full, rank=rank), scenario.payload)
            assert row["bytes_up"] == upload_bytes(reduction.shape(full), scenario.payload)
            costs = setting.measured.costs(reduction, scenario.payload)
            assert costs.download_bits == 8 * row["bytes_down"]
        assert event["round_s"] == pytest.approx(event["planned_s"], rel=0.1)


def test_the_saved_model_has_the_loss_of_the_last_round(tiny, stacked):
    start, *_, last, _ = read_events(stacked / "events.jsonl")
    tokenizer = load_base("tiny").tokenizer
    loss = evaluate(model_in(stacked / "model"), test_set(tiny)[0], tokenizer.pad_token_id).mean()
    assert loss == pytest.approx(last["loss"], abs=1e-5)
    assert last["loss"] < start["loss"] - 0.1


def test_a_run_that_was_stopped_goes_on_with_what_has_been_merged(tiny, stacked, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(changed(tiny, method="flora"), tmp_path / "run", observer=Stop(2))
    run(changed(tiny, method="flora"), tmp_path / "run", resume=True)
    file = "model/model.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (stacked / file).read_bytes()
