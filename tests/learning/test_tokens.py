"""From text to batches, with the byte-level tokenizer of the tiny model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from airtune.learning.models import load_base
from airtune.learning.tasks import Example
from airtune.learning.tokens import Encoded, batches, collate, encode, fewer
from airtune.randomness import generator


@pytest.fixture(scope="module")
def tokenizer():
    return load_base("tiny").tokenizer


def test_prompt_and_response_meet_exactly(tokenizer):
    found = encode(Example("Question: 1+1?\nAnswer:", " 2 für dich", ""), tokenizer, 100)
    assert tokenizer.decode(found.input_ids[: found.prompt_length]) == "Question: 1+1?\nAnswer:"
    assert tokenizer.decode(found.input_ids[found.prompt_length : -1]) == " 2 für dich"
    assert found.input_ids[-1] == tokenizer.eos_token_id


@given(
    prompt=st.text(min_size=1, max_size=80),
    response=st.text(min_size=1, max_size=80),
    limit=st.integers(16, 120),
)
def test_what_is_too_long_is_cut_at_its_far_ends(tokenizer, prompt, response, limit):
    example = Example(prompt, response, "")
    whole, found = encode(example, tokenizer, 10_000), encode(example, tokenizer, limit)
    prompt_ids, response_ids = whole.input_ids[: whole.prompt_length], whole.input_ids[whole.prompt_length :]
    kept_prompt, kept_response = (
        found.input_ids[: found.prompt_length],
        found.input_ids[found.prompt_length :],
    )
    assert len(found.input_ids) == min(len(whole.input_ids), limit)
    assert kept_prompt == prompt_ids[len(prompt_ids) - len(kept_prompt) :]
    assert kept_response == response_ids[: len(kept_response)]
    assert kept_prompt
    assert len(kept_response) >= min(len(response_ids), limit // 2)


def test_a_tokenizer_that_marks_the_beginning_keeps_its_mark(tokenizer):
    class Marking:
        bos_token_id, eos_token_id = 7, tokenizer.eos_token_id

        def __call__(self, text, add_special_tokens=True):
            found = tokenizer(text, add_special_tokens=False)
            found["input_ids"] = [7] * add_special_tokens + found["input_ids"]
            return found

    marked, plain = (encode(Example("a" * 50, "b" * 9, ""), each, 30) for each in (Marking(), tokenizer))
    assert marked.input_ids == (7, *plain.input_ids[1:])
    assert marked.prompt_length == plain.prompt_length


def test_only_answers_have_labels():
    batch = collate([Encoded((5, 6, 7, 8), 2), Encoded((9, 10), 1)], pad_id=3)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [9, 10, 3, 3]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.labels.tolist() == [[-100, -100, 7, 8], [-100, 10, -100, -100]]
    assert batch.labels.dtype == torch.int64


def test_padding_changes_no_loss():
    model = load_base("tiny").model.cpu()
    rows = [Encoded(tuple(range(10, 30)), 5), Encoded(tuple(range(40, 47)), 3)]
    with torch.no_grad():
        batch = collate(rows, pad_id=0)
        together = model(batch.input_ids, attention_mask=batch.attention_mask).logits
        for row, example in enumerate(rows):
            alone = model(collate([example], pad_id=0).input_ids).logits[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=1e-4, atol=1e-5)


def rows_of(found) -> list[int]:
    """The examples of `numbered`, in the order in which the batches hold them."""
    return [int(row[0]) for batch in found for row in batch.input_ids]


def numbered(count: int) -> list[Encoded]:
    """Examples that begin with their number, of varying length."""
    return [Encoded((index, *([1] * (1 + index * 7 % 23))), 1) for index in range(count)]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 20), st.integers(0, 9))
def test_batches_are_full_and_use_examples_evenly(count, batch_size, steps, seed):
    found = list(batches(numbered(count), batch_size, steps, generator(seed, "order"), 0))
    assert [len(batch.input_ids) for batch in found] == [batch_size] * steps
    uses = np.bincount(rows_of(found), minlength=count)
    assert uses.max() - uses.min() <= 1
    again = batches(numbered(count), batch_size, steps, generator(seed, "order"), 0)
    assert rows_of(found) == rows_of(again)


def test_batches_differ_by_generator():
    one, other = (rows_of(batches(numbered(40), 4, 4, generator(0, round_), 0)) for round_ in (1, 2))
    assert one != other


def test_sorting_by_length_saves_padding():
    examples = numbered(200)
    found = list(batches(examples, 4, 48, generator(0, "order"), 0))
    padded = sum(batch.input_ids.numel() for batch in found)
    used = sum(int(batch.attention_mask.sum()) for batch in found)
    shuffled = generator(1, "plain").permutation(200)[:192].reshape(48, 4)
    plain = sum(4 * max(len(examples[index].input_ids) for index in row) for row in shuffled)
    assert padded - used < 0.5 * (plain - used)


@given(st.integers(1, 8), st.integers(1, 12), st.floats(0.01, 1), st.integers(0, 99))
def test_fewer_examples_are_some_of_the_same(rows, steps, share, seed):
    encoded = [Encoded(tuple(range(100 * n, 100 * n + 3 + n)), 2) for n in range(20)]
    whole = list(batches(encoded, rows, steps, generator(seed, "order"), pad_id=0))
    less = list(fewer(whole, share, generator(seed, "fewer")))
    assert len(less) == steps
    kept = [len(batch.input_ids) for batch in less]
    assert min(kept) >= 1
    # Over any number of steps the share is kept to within one row, but where a step would have none.
    if share * rows >= 1:
        assert all(abs(sum(kept[: n + 1]) - share * rows * (n + 1)) <= 0.5 + 1e-9 for n in range(steps))
    for batch, part in zip(whole, less, strict=True):
        assert int(part.attention_mask.sum(dim=1).max()) == part.input_ids.shape[1]
        texts = [
            row[mask == 1].tolist() for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        for row, mask, labels in zip(part.input_ids, part.attention_mask, part.labels, strict=True):
            assert row[mask == 1].tolist() in texts
            assert (labels[mask == 1][2:] == row[mask == 1][2:]).all()


def test_all_examples_are_the_batches_themselves():
    encoded = [Encoded((1, 2, 3), 1)] * 4
    whole = list(batches(encoded, 2, 3, generator(0, "order"), pad_id=0))
    assert all(left is right for left, right in zip(whole, fewer(whole, 1.0, generator(0, "")), strict=True))
