"""Private clients: what they send depends on their data through the noised update alone, and is counted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Context, MetricRecord, RecordDict
from safetensors.numpy import load_file

from airtune import AirtuneError, Scenario, run
from airtune.costs.count import Workload
from airtune.federation.client_app import app as client_app
from airtune.federation.client_round import answer
from airtune.federation.grid import InProcessGrid
from airtune.federation.messages import Asked, Assignment, Update
from airtune.federation.missing import LATE, OUTAGE, UPLOAD
from airtune.federation.round import PlannedRound
from airtune.learning.training import Trained
from airtune.privacy.accountant import epsilon
from airtune.pruning.adapters import initial_adapter
from airtune.pruning.measured import measured_path
from airtune.pruning.path import Reduction
from airtune.results.events import read_events
from airtune.results.formats import number
from airtune.scenario_file import dump_scenario

PRIVACY = {"clip": 0.5, "noise": 0.02}


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


@pytest.fixture(scope="module")
def private(tiny) -> Scenario:
    faults = {"outages": [{"client": "slow-1", "first": 2}]}
    training = {"steps": 1, "batch_size": 2}
    return changed(tiny, privacy=PRIVACY, method="fedit", rounds=2, training=training, faults=faults)


@pytest.fixture(scope="module")
def private_run(private, tmp_path_factory) -> Path:
    return run(private, tmp_path_factory.mktemp("private") / "run")


def sent(scenario: Scenario, moves: list[float], loss: float = 1.0, simulated: bool = True) -> list[bytes]:
    """What a client sends and keeps, in bytes, when its training adds each of `moves` to all it trains."""

    full = measured_path(scenario).path.full
    # From zero no rounding of the sum tells updates of one direction apart.
    adapter = {name: np.zeros_like(matrix) for name, matrix in initial_adapter(full, 0).items()}
    content = Assignment(1, 1, Reduction.none(full), 0.0, adapter).to_content()

    def reply(move: float) -> bytes:
        def rule(submodel, batches, learning_rate, proximal):
            with torch.no_grad():
                for parameter in submodel.parameters():
                    if parameter.requires_grad:
                        parameter.add_(move)
            return Trained(loss, (Workload(3, 50.0, loss),))

        config = {"scenario": dump_scenario(scenario), "simulated": simulated}
        node = {"partition-id": 0, "num-partitions": 4}
        context = Context(1, node_id=1, node_config=node, state=RecordDict(), run_config=config)
        message = InProcessGrid(client_app, 4, {}).create_message(content, "train", 1, "1")
        found = answer(message, context, rule)
        if found.has_error():
            raise AirtuneError(found.error.reason)
        return _bytes(found.content) + _bytes(context.state)

    return [reply(move) for move in moves]


def _bytes(records: RecordDict) -> bytes:
    parts = [f"{name} {dict(one)}".encode() for name, one in records.config_records.items()]
    parts += [f"{name} {dict(one)}".encode() for name, one in records.metric_records.items()]
    arrays = (item for one in records.array_records.values() for item in one.items())
    return b"".join([*parts, *(name.encode() + array.data for name, array in arrays)])


@pytest.mark.parametrize("payload", [{"format": "float32"}, {}, {"format": "int4", "keep": 0.25}])
def test_what_is_sent_and_kept_follows_from_the_noised_update_alone(payload, private):
    scenario = changed(private, payload=payload)
    # Clipped, updates of one direction are one: nothing sent or kept may tell them, losses or lengths apart.
    first, second = sent(scenario, [2.0, 4.0], loss=1.0)
    assert first == second == sent(scenario, [8.0], loss=7.0)[0]
    assert first != sent(scenario, [-2.0])[0]
    assert first != sent(changed(scenario, seed=2), [2.0])[0]
    # Without privacy the same training shows.
    bare = changed(scenario, privacy=None)
    assert sent(bare, [2.0], loss=1.0) != sent(bare, [2.0], loss=7.0)


def test_a_training_that_diverged_does_not_show(private):
    still, diverged = sent(private, [0.0, float("nan")])
    assert still == diverged


def test_a_real_node_without_a_key_sends_nothing(private):
    with pytest.raises(AirtuneError, match="no noise-key"):
        sent(private, [1.0], simulated=False)


def test_losses_that_were_to_be_withheld_are_refused():
    asked = Asked(0, 1, 1, Workload(9, 9.0, 9.0), {}, withheld=True)
    reply = Update(0, 1, {}, None, ()).to_content()
    assert Update.from_content(reply, asked).loss is None
    reply["metrics"] = MetricRecord({"loss": 1.0, "rows": [1], "length": [1.0], "labels": [1.0]})
    with pytest.raises(AirtuneError, match="a record metrics that was not asked for"):
        Update.from_content(reply, asked)


def test_a_run_accounts_for_every_round_and_shows_no_training_loss(private, private_run):
    events = read_events(private_run / "events.jsonl")
    promised = epsilon(private.privacy, 2)
    assert events[0]["privacy"] == {**PRIVACY, "delta": 1e-5, "most_epsilon": promised}
    rounds = [event for event in events if event["event"] == "round"]
    assert [event["privacy"]["answers"] for event in rounds] == [[1] * 4, [2, 1, 2, 2]]
    assert rounds[1]["privacy"]["epsilon"] == [promised, epsilon(private.privacy, 1), promised, promised]
    assert not any("loss" in row for event in rounds for row in event["clients"])
    assert json.loads((private_run / "summary.json").read_text())["epsilon"] == promised
    page = (private_run / "report.html").read_text()
    assert 'id="privacy"' in page
    assert f"<td>{number(promised)}</td>" in page


def test_same_seed_same_bytes_and_noise_on_every_number(private, private_run, tmp_path):
    again = run(private, tmp_path / "run")
    file = Path("adapter", "adapter_model.safetensors")
    first, second = load_file(private_run / file), load_file(again / file)
    assert all((first[name] == second[name]).all() for name in first)
    # The mean of four clients' noise, and of three in the second round; training moves some numbers more.
    moved = np.concatenate([matrix.ravel() for name, matrix in first.items() if "lora_B" in name])
    assert moved.std() > 0.9 * PRIVACY["noise"] * PRIVACY["clip"] * np.sqrt(1 / 4 + 1 / 3)


def test_who_is_asked_in_vain_counts_and_who_is_out_does_not():
    planned = PlannedRound(1, None, None, dict.fromkeys(range(4)), {0: OUTAGE, 1: UPLOAD, 2: LATE})
    assert planned.asked == {1, 2, 3}
