"""From text to batches: tokenised examples whose answer alone is learnt, padded on the right."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from airtune.learning.tasks.example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_LABEL = -100  # what torch's cross entropy ignores
_WINDOW = 4  # batches among which examples are sorted by length


@dataclass(frozen=True)
class Encoded:
    """One example's tokens; the first `prompt_length` are the prompt, the rest, never empty, the answer."""

    input_ids: tuple[int, ...]
    prompt_length: int


@dataclass(frozen=True)
class Batch:
    """Tensors (rows, length), int64. `labels` are unshifted: the token itself in answers, -100 elsewhere."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


def encode(example: Example, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> Encoded:
    """Tokenise prompt and response apart, so that the boundary is exact, and end the response.

    An example that is too long loses the end of its response down to half of `max_tokens` and, if that is not
    enough, the beginning of its prompt: the question's end and the answer's beginning always meet.
    """
    # Tokenizers that begin every text with a mark (BOS) show it on the empty text.
    begin = [token for token in tokenizer("").input_ids if token == tokenizer.bos_token_id]
    prompt = tokenizer(example.prompt, add_special_tokens=False).input_ids
    response = [*tokenizer(example.response, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    room = max_tokens - len(begin)
    response = response[: max(room - len(prompt), room // 2)]
    prompt = prompt[max(0, len(prompt) + len(response) - room) :]
    return Encoded((*begin, *prompt, *response), len(begin) + len(prompt))


def collate(examples: Sequence[Encoded], pad_id: int) -> Batch:
    """Pad to the longest of `examples`."""
    shape = (len(examples), max(len(example.input_ids) for example in examples))
    input_ids = torch.full(shape, pad_id, dtype=torch.int64)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    labels = torch.full(shape, NO_LABEL, dtype=torch.int64)
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        input_ids[row, :length] = torch.tensor(example.input_ids)
        attention_mask[row, :length] = 1
        labels[row, example.prompt_length : length] = input_ids[row, example.prompt_length : length]
    return Batch(input_ids, attention_mask, labels)


def batches(
    encoded: Sequence[Encoded], batch_size: int, steps: int, generator: np.random.Generator, pad_id: int
) -> Iterator[Batch]:
    """The `steps` batches of one local training, each of `batch_size` examples.

    Examples come in shuffled epochs without a break, so few examples fill any number of batches. Among the
    examples of a few neighbouring batches the like-long go together, which saves padding; which examples
    are used does not depend on their length.
    """
    epochs = chain.from_iterable(generator.permutation(len(encoded)) for _ in iter(int, 1))
    order = [int(index) for index in islice(epochs, steps * batch_size)]
    for start in range(0, len(order), _WINDOW * batch_size):
        window = order[start : start + _WINDOW * batch_size]
        window.sort(key=lambda index: len(encoded[index].input_ids))
        for batch in generator.permutation(len(window) // batch_size):
            chosen = window[batch * batch_size : (batch + 1) * batch_size]
            yield collate([encoded[index] for index in chosen], pad_id)


def fewer(whole: Iterable[Batch], share: float, generator: np.random.Generator) -> Iterator[Batch]:
    """Batches with a `share` of their rows, at least one, chosen at random.

    Shares that are no whole number of rows even out from batch to batch. With a share of 1 batches stay as
    they are.
    """
    owed = 0.0
    for batch in whole:
        rows = len(batch.input_ids)
        owed += share * rows
        kept = min(max(round(owed), 1), rows)
        owed -= kept
        if kept < rows:
            chosen = torch.from_numpy(np.sort(generator.choice(rows, kept, replace=False)))
            length = int(batch.attention_mask[chosen].sum(dim=1).max())
            parts = (batch.input_ids, batch.attention_mask, batch.labels)
            yield Batch(*(part[chosen, :length] for part in parts))
        else:
            yield batch
