"""The task's metric: greedy answers as a plain loop finds them, and a model that has learnt the answer."""

from pathlib import Path

import pytest
import torch

from airtune import Scenario, run
from airtune.learning.generation import greedy_answers, measure_metric
from airtune.learning.models import load_base
from airtune.learning.tasks.answers import Metric

PROMPTS = ["Question: 2 + 2?\nAnswer:", "Why?", "Question: how many apples are left in the basket?\nAnswer:"]


def plain_greedy(prompt: list[int], most: int, end: int) -> list[int]:
    """One token after the other, all computed anew each time."""
    ids = torch.tensor([prompt])
    for _ in range(most):
        with torch.no_grad():
            ids = torch.cat([ids, load_base("tiny").model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == end:
            break
    return ids[0, len(prompt) :].tolist()


def test_answers_are_the_likeliest_tokens():
    base = load_base("tiny")
    prompts = [base.tokenizer(prompt).input_ids for prompt in PROMPTS]
    found = greedy_answers(base.model, prompts, 12, base.tokenizer.pad_token_id)
    for prompt, answer in zip(prompts, found, strict=True):
        assert answer[:12] == plain_greedy(prompt, 12, base.tokenizer.eos_token_id)


def test_no_answer_is_longer_than_the_model_s_positions_allow():
    base = load_base("tiny")
    room = base.model.config.max_position_embeddings
    long = [5] * (room - 3)
    (answer,) = greedy_answers(base.model, [long], 12, base.tokenizer.pad_token_id)
    assert len(answer) == 3
    assert greedy_answers(base.model, [[5] * room], 12, base.tokenizer.pad_token_id) == [[]]


@pytest.fixture
def topics(tmp_path) -> Scenario:
    """Questions that are all about sports, but for the last of four test questions."""
    rows = [f'"6","Who wins match {number}?","",""' for number in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    test = [f'"6","Who wins game {number}?","",""' for number in range(3)] + ['"3","Is it healthy?","",""']
    (tmp_path / "test.csv").write_text("\n".join(test) + "\n")
    device = {"name": "gateway", "throughput": 2e9, "memory": 512e6}
    return Scenario.model_validate(
        {
            "rounds": 1,
            "model": {"name": "tiny"},
            "lora": {"rank": 16},
            "task": {"name": "yahoo_answers", "data": str(tmp_path), "calibration_examples": 4},
            "training": {"steps": 200, "learning_rate": 1e-2},
            "partition": {"kind": "labels"},
            "clients": [{"id": "one", "device": device, "distance": 50, "labels": ["6"]}],
        }
    )


@pytest.mark.parametrize("rank", [16, "full"])
def test_a_model_that_has_learnt_the_answer(rank, topics, tmp_path):
    scenario = Scenario.model_validate(topics.model_dump() | {"lora": {"rank": rank}})
    folder = run(scenario, tmp_path / "run")
    learnt: Path = folder / ("model" if rank == "full" else "adapter")
    assert measure_metric(scenario, learnt) == Metric("accuracy", 0.75, 4, {"one": 1.0})


def test_free_text_has_no_metric(topics, tmp_path):
    free = topics.model_copy(update={"task": topics.task.model_copy(update={"target": "answer"})})
    assert measure_metric(free, tmp_path) is None
