"""One matrix there and back: sizes, error bounds, what is kept, and that rounding is right in the mean."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from airtune import AirtuneError
from airtune.payload.matrix import decode, encode, sent_form
from airtune.randomness import generator
from airtune.scenario import Payload

LEVELS = {"int8": 127, "int4": 7}
BLOCK = 128
LOSSY = st.sampled_from(["bfloat16", "int8", "int4"])
SHAPES = st.tuples(st.integers(0, 40), st.integers(1, 40))
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
MATRICES = SHAPES.flatmap(lambda shape: npst.arrays(np.float32, shape, elements=NUMBERS))
PAYLOADS = st.builds(
    Payload, format=st.sampled_from(["float32", "bfloat16", "int8", "int4"]), keep=st.floats(1e-3, 0.999)
)


def there_and_back(matrix: np.ndarray, payload: Payload, seed: int = 0) -> np.ndarray:
    return decode(encode(matrix, payload, generator(seed, "test")), matrix.shape, payload)


def block_peaks(matrix: np.ndarray) -> np.ndarray:
    """The largest magnitude of every entry's block."""
    values = np.abs(matrix.astype(np.float64)).reshape(-1)
    blocks = [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]
    return np.concatenate([np.full(len(block), block.max()) for block in blocks] or [values])


@given(MATRICES, PAYLOADS | st.builds(Payload, format=LOSSY))
def test_what_is_sent_has_the_size_that_was_declared(matrix, payload):
    sent = encode(matrix, payload, generator(0, "test"))
    assert (sent.dtype, sent.shape) == sent_form(matrix.shape, payload)
    assert decode(sent, matrix.shape, payload).shape == matrix.shape


@pytest.mark.parametrize(
    ("form", "keep", "bytes_sent"),
    [
        ("bfloat16", 1, 2 * 1000),
        ("int8", 1, 1000 + 4 * 8),
        ("int4", 1, 500 + 4 * 8),
        ("float32", 0.5, 125 + 4 * 500),
        ("int4", 0.5, 125 + 250 + 4 * 4),
        ("int4", 0.01, 2 * 10 + 5 + 4),
    ],
)
def test_the_sizes_are_those_of_the_bits_and_scales(form, keep, bytes_sent):
    assert sent_form((20, 50), Payload(format=form, keep=keep)) == (np.uint8, (bytes_sent,))


def test_positions_in_large_matrices_have_room():
    matrix = np.zeros((300, 300), np.float32)
    matrix[299, 250:] = np.arange(1, 51)
    payload = Payload(format="float32", keep=50 / 90_000)
    assert sent_form(matrix.shape, payload) == (np.uint8, ((4 + 4) * 50,))
    assert np.array_equal(there_and_back(matrix, payload), matrix)


def test_without_loss_a_matrix_is_sent_as_it_is():
    assert sent_form((20, 50), Payload(format="float32")) == (np.float32, (20, 50))


@given(MATRICES)
def test_bfloat16_is_one_of_the_two_neighbours(matrix):
    found = there_and_back(matrix, Payload(format="bfloat16"))
    assert np.array_equal(torch.tensor(found).bfloat16().float().numpy(), found)
    assert (np.abs(found - matrix) <= 2.0**-7 * np.abs(matrix) + 2.0**-133).all()
    assert np.array_equal(there_and_back(found, Payload(format="bfloat16"), seed=1), found)


@given(MATRICES, st.sampled_from(list(LEVELS)))
def test_integers_are_less_than_a_level_away(matrix, form):
    found = there_and_back(matrix, Payload(format=form))
    error = np.abs(found.astype(np.float64) - matrix).reshape(-1)
    assert (error <= 1.00001 * block_peaks(matrix) / LEVELS[form] + 1e-44).all()
    assert (found[matrix == 0] == 0).all()


@pytest.mark.parametrize("form", ["bfloat16", "int8", "int4"])
def test_rounding_is_right_in_the_mean(form):
    draws = 3000
    matrix = generator(0, "values").standard_normal((10, 30)).astype(np.float32)
    payload = Payload(format=form)
    mean = np.mean([there_and_back(matrix, payload, seed) for seed in range(draws)], axis=0, dtype=np.float64)
    step = np.abs(matrix) / 2**7 if form == "bfloat16" else block_peaks(matrix).reshape(10, 30) / LEVELS[form]
    # A value rounded to one of two neighbours a step apart has a deviation of at most half a step.
    assert (np.abs(mean - matrix) < 5 * step / 2 / np.sqrt(draws)).all()


@given(MATRICES, st.floats(1e-3, 0.999))
def test_the_largest_entries_are_kept(matrix, keep):
    found = there_and_back(matrix, Payload(format="float32", keep=keep))
    kept = min(matrix.size, max(1, round(keep * matrix.size)))
    largest = np.argsort(-np.abs(matrix.reshape(-1)), kind="stable")[:kept]
    expected = np.zeros(matrix.size, np.float32)
    expected[largest] = matrix.reshape(-1)[largest]
    assert np.array_equal(found.reshape(-1), expected)


@given(MATRICES, PAYLOADS | st.builds(Payload, format=LOSSY))
def test_the_same_draws_give_the_same_bytes(matrix, payload):
    first, again = (encode(matrix, payload, generator(7, "test")) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("keep", [1, 0.1])
def test_what_is_not_finite_does_not_pass_for_a_number(form, wrong, keep):
    matrix = np.ones((4, 5), np.float32)
    matrix[1, 2] = wrong
    with contextlib.suppress(AirtuneError):  # for a scale that is not finite
        assert not np.isfinite(there_and_back(matrix, Payload(format=form, keep=keep))).all()


@given(SHAPES, PAYLOADS | st.builds(Payload, format=LOSSY), st.data())
def test_any_bytes_are_a_matrix_or_an_error(shape, payload, data):
    (size,) = sent_form(shape, payload)[1]
    sent = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)
    with contextlib.suppress(AirtuneError):
        assert decode(sent, shape, payload).shape == shape


def tampered(payload: Payload, place: slice, number: bytes) -> np.ndarray:
    sent = encode(np.ones((20, 50), np.float32), payload, generator(0, "test"))
    sent[place] = np.frombuffer(number, np.uint8)
    return sent


FEW = Payload(format="int4", keep=0.01)  # 10 positions of 2 bytes, then a scale


@pytest.mark.parametrize(
    ("payload", "place", "number", "expected"),
    [
        (FEW, slice(2, 4), b"\x00\x00", "positions that are repeated or out of order"),
        (FEW, slice(18, 20), (1000).to_bytes(2, "little"), "position 1000 of 1000 entries"),
        (FEW, slice(20, 24), np.float32("nan").tobytes(), "a scale that is negative or not finite"),
        (FEW, slice(20, 24), np.float32(-1).tobytes(), "a scale that is negative or not finite"),
        (Payload(format="int8"), slice(0, 4), np.float32("inf").tobytes(), "a scale that is negative"),
        (Payload(format="float32", keep=0.5), slice(0, 1), b"\x00", "492 positions instead of 500"),
    ],
)
def test_bytes_that_encode_never_makes_are_refused(payload, place, number, expected):
    with pytest.raises(AirtuneError, match=expected):
        decode(tampered(payload, place, number), (20, 50), payload)
