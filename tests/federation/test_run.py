"""A whole run of the tiny scenario: its folder, its clock, its adapter, and FedAvg as an oracle for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from airtune import InputError, Plan, Scenario, run
from airtune.learning.local_data import round_batches, test_set
from airtune.learning.models import prepare
from airtune.methods import METHODS
from airtune.pruning.adapters import initial_adapter
from airtune.pruning.measured import measured_path
from airtune.results.calibration import calibrate
from airtune.results.events import read_events

# pytest would take the imported function for a test.
test_set.__test__ = False


def rounds_of(folder: Path) -> list[dict]:
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]


def base_model() -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(prepare("tiny"), dtype=torch.float32)


def test_runs_can_be_calibrated(finished):
    text = calibrate([finished])
    assert "3.00 rounds, mean error" in text
    assert "one run does not tell the penalty; with 0.8, base is " in text


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


# -- The folder ---------------------------------------------------------------------------------------


def test_the_folder_has_its_stable_names(finished):
    assert {path.name for path in finished.iterdir() if not path.name.startswith(".")} == {
        "scenario.yaml",
        "path.npz",
        "plans",
        "events.jsonl",
        "checkpoint.safetensors",
        "adapter",
        "summary.json",
        "report.html",
    }
    assert {path.name for path in (finished / "plans").iterdir()} == {
        "round-001.json",
        "round-002.json",
        "round-003.json",
    }
    assert {path.name for path in (finished / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_the_summary_sums_the_events_up(finished):
    summary = json.loads((finished / "summary.json").read_text())
    start, *rounds, end = read_events(finished / "events.jsonl")
    assert [event["event"] for event in (start, *rounds, end)] == ["start", *["round"] * 3, "end"]
    assert summary == {key: value for key, value in end.items() if key != "event"}
    assert (summary["method"], summary["rounds"]) == ("joint", 3)
    assert summary["loss_before"] == start["loss"]
    assert summary["loss_after"] == rounds[-1]["loss"]
    for total, each in (("simulated_s", "round_s"), ("bytes_up", "bytes_up"), ("bytes_down", "bytes_down")):
        assert summary[total] == pytest.approx(sum(event[each] for event in rounds))
    assert summary["elapsed_s"] == rounds[-1]["elapsed_s"] > 0


def test_the_loss_falls(finished):
    start, *rounds, _ = read_events(finished / "events.jsonl")
    losses = [event["loss"] for event in (start, *rounds)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


def test_the_clock_adds_up(finished):
    clock = 0.0
    for event in rounds_of(finished):
        spent = [row["download_s"] + row["compute_s"] + row["upload_s"] for row in event["clients"]]
        assert event["round_s"] == max(spent)
        for row, seconds in zip(event["clients"], spent, strict=True):
            assert min(row["download_s"], row["compute_s"], row["upload_s"]) > 0
            assert row["waiting_s"] == pytest.approx(event["round_s"] - seconds)
        assert event["bytes_up"] == sum(row["bytes_up"] for row in event["clients"])
        assert event["flops"] == sum(row["flops"] for row in event["clients"])
        spent = [row[part] for row in event["clients"] for part in ("compute_j", "transmit_j")]
        assert min(spent) > 0
        assert event["energy_j"] == pytest.approx(sum(spent))
        clock += event["round_s"]
        assert event["clock_s"] == pytest.approx(clock)
        assert event["fedit_s"] > event["round_s"]


def test_plans_are_kept_and_share_the_cell(finished, tiny):
    for event in rounds_of(finished):
        text = (finished / "plans" / f"round-{event['round']:03d}.json").read_text()
        plan = Plan.from_json(text)
        assert plan.method == "joint"
        assert plan.bandwidth_hz.sum() <= tiny.cells[0].bandwidth * (1 + 1e-9)
        assert [row["bandwidth_hz"] for row in event["clients"]] == plan.bandwidth_hz.tolist()
        real = [row["prune"] for row in event["clients"]]
        # The next sub-model of the path: never larger than planned, but for a solver's last digits.
        assert all(-2e-6 <= rate - planned < 1 / 3 for rate, planned in zip(real, plan.prune, strict=True))
        assert max(real) <= tiny.prune_max
        # Four layers, depth: three can be given up, a third of the path each.
        trained = [row["trained_layers"] for row in event["clients"]]
        assert trained == [4 - round(3 * rate) for rate in real]
        assert event["planned_s"] == plan.round_s
        # What was sent and trained is what was planned, up to the steps of the path.
        assert event["round_s"] == pytest.approx(plan.round_s, rel=0.25)


def test_less_is_sent_where_more_is_pruned(finished):
    for event in rounds_of(finished):
        rows = sorted(event["clients"], key=lambda row: row["prune"])
        sent = [row["bytes_up"] for row in rows]
        assert sent == sorted(sent, reverse=True)
        assert all(row["bytes_up"] <= row["bytes_down"] for row in rows)


# -- The adapter --------------------------------------------------------------------------------------


def answer_loss(model: nn.Module, scenario: Scenario) -> float:
    total, count = 0.0, 0
    for example in test_set(scenario)[0]:
        ids = torch.tensor([example.input_ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
        answer = ids[0, example.prompt_length :]
        total += float(nn.functional.cross_entropy(logits.double(), answer, reduction="sum"))
        count += len(answer)
    return total / count


def test_peft_loads_the_adapter_and_finds_the_same_loss(finished, tiny):
    start, *_, last = read_events(finished / "events.jsonl")[:-1]
    assert answer_loss(base_model(), tiny) == pytest.approx(start["loss"], abs=1e-5)
    config = json.loads((finished / "adapter" / "adapter_config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, finished / "adapter")
    assert answer_loss(model, tiny) == pytest.approx(last["loss"], abs=1e-5)


def test_the_same_seed_gives_the_same_adapter(finished, tiny, tmp_path):
    again = run(tiny, tmp_path / "again")
    file = "adapter/adapter_model.safetensors"
    assert (again / file).read_bytes() == (finished / file).read_bytes()


def test_fedit_is_federated_averaging(tiny, tmp_path):
    """Plain FedAvg with PEFT and torch alone, on the same batches, from the same start."""
    shares = {"slow": 0.1, "fast": 0.4}
    groups = [group | {"share": shares[group["id"]]} for group in tiny.model_dump()["clients"]]
    exact = {"format": "float32", "download": "float32"}
    scenario = changed(tiny, method="fedit", rounds=2, clients=groups, payload=exact)
    folder = run(scenario, tmp_path / "run")
    assert all(row["prune"] == 0 for event in rounds_of(folder) for row in event["clients"])

    lora = LoraConfig(
        r=scenario.lora.rank, lora_alpha=scenario.lora.alpha, target_modules=list(scenario.lora.projections)
    )
    model = get_peft_model(base_model(), lora)
    parameters = {
        name.replace("base_model.model.", "", 1).replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    start = initial_adapter(measured_path(scenario).path.full, scenario.seed)
    assert start.keys() == parameters.keys()
    shared = {name: torch.tensor(matrix) for name, matrix in start.items()}
    for round_number in (1, 2):
        merged = {name: torch.zeros_like(matrix, dtype=torch.float64) for name, matrix in shared.items()}
        for client, weight in enumerate((0.1, 0.1, 0.4, 0.4)):
            for name, parameter in parameters.items():
                parameter.data = shared[name].clone()
            optimiser = torch.optim.AdamW(
                parameters.values(), lr=scenario.training.learning_rate, weight_decay=0.0
            )
            for batch in round_batches(scenario, client, round_number, scenario.training.steps):
                optimiser.zero_grad()
                model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
                ).loss.backward()
                optimiser.step()
            for name, parameter in parameters.items():
                merged[name] += weight * parameter.data.double()
        shared = {name: matrix.float() for name, matrix in merged.items()}

    found = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.") for name in found} == shared.keys()
    for name, matrix in shared.items():
        moved = float(np.abs(matrix.numpy() - start[name]).max())
        error = np.abs(found[f"base_model.model.{name}"] - matrix.numpy())
        assert error.max() < 1e-3 * moved, name


# -- Methods and reductions ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("joint", "drop-slowest")])
def test_every_method_runs(method, tiny, tmp_path):
    folder = run(changed(tiny, method=method, rounds=1), tmp_path / "run")
    (event,) = rounds_of(folder)
    some = {"fedcs": 2, "random-selection": 2, "joint-select": 1, "fedbuff": 2}
    assert len(event["clients"]) == some.get(method, 4)
    if method in ("bandwidth-only", "fedit"):
        assert all(row["prune"] == 0 for row in event["clients"])
    if method in ("pruning-only", "fedit"):
        assert [row["bandwidth_hz"] for row in event["clients"]] == pytest.approx([25e3] * 4)
    if method == "fedit":
        assert event["round_s"] == pytest.approx(event["fedit_s"])


def test_drop_slowest_leaves_the_same_clients_out_of_every_round(tiny, tmp_path):
    folder = run(changed(tiny, method="drop-slowest"), tmp_path / "run")
    present = [[row["id"] for row in event["clients"]] for event in rounds_of(folder)]
    assert present[0] == present[1] == present[2]
    assert 0 < len(present[0]) < 4
    plan = Plan.from_json((folder / "plans" / "round-002.json").read_text())
    assert [
        name for name, takes_part in zip(plan.ids, plan.participates, strict=True) if takes_part
    ] == present[0]
    assert json.loads((folder / "summary.json").read_text())["method"] == "drop-slowest"


@pytest.mark.parametrize("reduction", ["examples", "depth", "mixed", "width"])
def test_every_reduction_runs(reduction, tiny, tmp_path):
    folder = run(changed(tiny, reduction=reduction, rounds=1), tmp_path / "run")
    (event,) = rounds_of(folder)
    slow = event["clients"][0]
    assert slow["prune"] > 0
    trained = [row["trained_layers"] for row in event["clients"]]
    assert [layers < 4 for layers in trained] == [reduction in ("depth", "mixed")] * 2 + [False] * 2
    # Only a narrower model has fewer adapters to receive.
    share = slow["bytes_down"] / event["clients"][-1]["bytes_down"]
    assert share < 0.9 if reduction == "width" else share == 1
    assert slow["flops"] < 0.9 * event["clients"][-1]["flops"]


def test_each_group_s_loss_where_groups_have_labels(tiny, tmp_path):
    groups = list(tiny.model_dump()["clients"])
    labels = sorted({json.loads(line)["label"] for line in Path(tiny.task.data).read_text().splitlines()})
    groups[0]["labels"], groups[1]["labels"] = labels[:1], labels[1:]
    scenario = changed(tiny, rounds=1, clients=groups, partition={"kind": "labels"})
    (event,) = rounds_of(run(scenario, tmp_path / "run"))
    assert set(event["group_loss"]) == {"slow", "fast"}


def test_nothing_is_left_of_a_run_that_cannot_begin(tiny, tmp_path):
    wrong = changed(tiny, task=tiny.task.model_dump() | {"data": str(tmp_path / "missing.jsonl")})
    with pytest.raises(InputError, match="missing"):
        run(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="missing"):
        run(wrong, tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


# -- Waiting --------------------------------------------------------------------------------------------


def test_a_client_that_would_wait_trains_on(tiny, tmp_path):
    """With equal bandwidth the near clients wait. More steps only where they fit: the clock stays."""
    most = 5 * tiny.training.steps
    equal = changed(tiny, method="fedit", rounds=2)
    longer = changed(equal, training=tiny.training.model_dump() | {"most_steps": most})
    idle, busy = (rounds_of(run(each, tmp_path / name)) for each, name in ((equal, "idle"), (longer, "busy")))
    for before, after in zip(idle, busy, strict=True):
        assert after["planned_s"] == before["planned_s"]
        assert after["round_s"] == pytest.approx(before["round_s"], rel=0.1)
        slow, fast = (
            [
                b["compute_s"] / a["compute_s"]
                for a, b in zip(before["clients"], after["clients"], strict=True)
            ][part]
            for part in (slice(0, 2), slice(2, 4))
        )
        assert max(slow) < 1.6  # at most one step more than the two it has
        assert all(3 < ratio < 6 for ratio in fast)
