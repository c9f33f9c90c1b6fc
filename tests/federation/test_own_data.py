"""A client with data of its own trains on that and on nothing else."""

import json

import pytest
import torch
from flwr.app import Context, Message, RecordDict

from airtune.costs.count import Workload
from airtune.federation.client_app import app as client_app
from airtune.federation.client_round import answer
from airtune.federation.grid import InProcessGrid
from airtune.federation.messages import Assignment
from airtune.learning.models import load_base
from airtune.learning.training import Trained
from airtune.payload.download import pack_download
from airtune.pruning.adapters import initial_adapter, slice_sent
from airtune.pruning.measured import measured_path
from airtune.scenario_file import dump_scenario


@pytest.fixture(scope="module")
def message(tiny) -> Message:
    path = measured_path(tiny).path
    whole = path.reduction(0.0)
    adapter = slice_sent(initial_adapter(path.full, tiny.seed), path.full, whole)
    content = Assignment(1, 3, whole, 0.0, pack_download(adapter, tiny.payload)).to_content()
    return InProcessGrid(client_app, 4, {}).create_message(content, "train", 1, "1")


def asked(tiny, message, place: object) -> tuple[Message, list[str]]:
    """The reply of a client whose node names its data, and the texts that it has trained on."""
    tokenizer = load_base("tiny", "float32").tokenizer
    texts = []

    def rule(submodel, batches, learning_rate, proximal):
        for batch in batches:
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
                texts.append(tokenizer.decode(ids[mask.to(torch.bool)]))
        return Trained(1.0, (Workload(4, 60.0, 8.0),) * 3)

    node = {"partition-id": 0, "num-partitions": 4, "data": str(place)}
    config = {"scenario": dump_scenario(tiny), "simulated": True}
    context = Context(1, node_id=1, node_config=node, state=RecordDict(), run_config=config)
    return answer(message, context, rule), texts


def test_it_trains_on_its_own_text_alone(tiny, message, tmp_path):
    mine = tmp_path / "mine.jsonl"
    # Of a single file every tenth line is test data, the first among them.
    rows = [{"prompt": f"Who is number {number}?", "response": f"own {number}"} for number in range(11)]
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reply, texts = asked(tiny, message, mine)
    assert not reply.has_error()
    assert len(texts) == 12
    assert all("Who is number" in text and "own" in text for text in texts)
    assert not any("number 0" in text or "number 10" in text for text in texts)
    assert len(set(texts)) > 5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "found nothing"), ("no JSON\n", "found 'no JSON'"), ("", "found no records")],
)
def test_data_that_cannot_be_read_is_an_answer_that_says_so(text, complaint, tiny, message, tmp_path):
    mine = tmp_path / "mine.jsonl"
    if text is not None:
        mine.write_text(text)
    reply, texts = asked(tiny, message, mine)
    assert texts == []
    assert complaint in reply.error.reason
    assert "mine.jsonl" in reply.error.reason
