"""The task's metric: the model with what it has learnt answers the test questions, greedily."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import nn

from airtune.learning.huggingface import quiet
from airtune.learning.local_data import test_set
from airtune.learning.models import load_base
from airtune.learning.partition import own_text
from airtune.learning.tasks import load_task
from airtune.learning.tasks.answers import Metric, is_right, metric_name
from airtune.scenario import Scenario

ROWS = 32  # questions answered at once


def measure_metric(scenario: Scenario, learnt: Path) -> Metric | None:
    """Answer all test questions, each with at most as many tokens as the longest true answer has.

    Args:
        learnt: a run's folder `adapter` or `model`.

    Returns:
        None for tasks without a right answer.
    """
    name = metric_name(scenario.task)
    if name is None:
        return None
    base = load_base(scenario.model.name, scenario.model.dtype)
    examples, labels = test_set(scenario)
    prompts = [example.input_ids[: example.prompt_length] for example in examples]
    most = max(len(example.input_ids) - example.prompt_length for example in examples)
    model = _with_learnt(scenario, learnt)
    answers = [
        str(base.tokenizer.decode(tokens, skip_special_tokens=True))
        for tokens in greedy_answers(model, prompts, most, base.tokenizer.pad_token_id)
    ]
    true = [example.response for example in load_task(scenario.task, scenario.seed).test]
    right = np.array([is_right(scenario.task)(*pair) for pair in zip(answers, true, strict=True)])
    by_group = {group: float(right[own].mean()) for group, own in own_text(scenario, labels).items()}
    return Metric(name, float(right.mean()), len(right), by_group)


def greedy_answers(
    model: nn.Module, prompts: Sequence[Sequence[int]], most: int, pad_id: int
) -> list[list[int]]:
    """The `most` likeliest tokens, one after the other, that follow each prompt; an answer ends with its end.

    Prompts of like length are answered together, padded on the left.
    """
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        for index, tokens in zip(
            chosen, _answer(model, [prompts[index] for index in chosen], most, pad_id), strict=True
        ):
            answers[index] = tokens
    return answers


def _answer(model: Any, prompts: list[Sequence[int]], most: int, pad_id: int) -> Iterator[list[int]]:
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    room = getattr(model.config, "max_position_embeddings", longest + most) - longest
    if room < 1:  # prompts that fill all positions of the model get no answer
        return iter([[] for _ in prompts])
    with quiet(), torch.no_grad():
        found = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=min(most, room),
            do_sample=False,
            num_beams=1,
            pad_token_id=pad_id,
        )
    return iter(found[:, longest:].tolist())


def _with_learnt(scenario: Scenario, learnt: Path) -> nn.Module:
    """A model as transformers and PEFT load it; it shares the base's weights, which stay as they are."""
    base = load_base(scenario.model.name, scenario.model.dtype).model
    with quiet():
        if learnt.name == "model":
            from transformers import AutoModelForCausalLM

            loaded: nn.Module = AutoModelForCausalLM.from_pretrained(
                learnt, dtype=base.dtype, attn_implementation="eager"
            )
            return loaded.to(base.device).eval()
        tensors = itertools.chain(base.parameters(), base.buffers())
        shared = copy.deepcopy(base, {id(tensor): tensor for tensor in tensors})
        return PeftModel.from_pretrained(shared, str(learnt)).eval()
