"""A whole upload: top-k loses nothing for good, rounding owes nothing, float32 is not touched at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune import AirtuneError
from airtune.payload.download import pack_download, unpack_download
from airtune.payload.update import decode_update, encode_update
from airtune.randomness import generator
from airtune.scenario import Payload

SIZES = {"a": (4, 60), "b": (33, 4), "c": (5, 5)}
PAYLOADS = st.builds(
    Payload, format=st.sampled_from(["float32", "bfloat16", "int8", "int4"]), keep=st.floats(0.01, 0.99)
)


def random_matrices(*purpose: int | str) -> dict[str, np.ndarray]:
    draw = generator(0, *purpose)
    return {name: draw.standard_normal(size).astype(np.float32) for name, size in SIZES.items()}


ZERO = {name: np.zeros(size, np.float32) for name, size in SIZES.items()}


@given(PAYLOADS, st.integers(0, 1000))
def test_over_the_rounds_all_that_top_k_leaves_out_arrives(payload, seed):
    owed, arrived, meant = ZERO, ZERO, ZERO
    for number in range(5):
        received, changes = random_matrices("received", seed, number), random_matrices("change", seed, number)
        trained = {name: received[name] + changes[name] for name in SIZES}
        sent, owed = encode_update(
            trained, received, owed, payload, lambda name, number=number: generator(seed, number, name)
        )
        found = decode_update(sent, received, received, payload)
        arrived = {name: arrived[name] + (found[name] - received[name]) for name in SIZES}
        meant = {name: meant[name] + (trained[name] - received[name]) for name in SIZES}
    assert all(np.allclose(arrived[name] + owed[name], meant[name], atol=1e-4) for name in SIZES)


@pytest.mark.parametrize("form", ["bfloat16", "int8", "int4"])
def test_rounding_alone_owes_nothing(form):
    payload = Payload(format=form)
    sent, owed = encode_update(random_matrices("trained"), ZERO, {}, payload, lambda name: generator(0, name))
    assert sent.keys() == SIZES.keys()
    assert owed == {}


@given(st.integers(0, 1000))
def test_without_loss_trained_matrices_travel_untouched(seed):
    trained, received = random_matrices("trained", seed), random_matrices("received", seed)
    payload = Payload(format="float32", download="float32")
    sent, owed = encode_update(trained, received, {}, payload, lambda name: generator(seed, name))
    found = decode_update(sent, received, received, payload)
    assert owed == {}
    assert all((found[name] == trained[name]).all() for name in SIZES)


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_changes_too_small_for_the_download_s_numbers_add_up(form):
    """1 and 1.0001 are the same in bfloat16, so that clients begin with 1 again and again."""
    payload = Payload(format=form, download="bfloat16")
    held = {"a": np.ones((4, 60), np.float32)}
    for number in range(200):
        received = unpack_download(pack_download(held, payload))
        trained = {"a": received["a"] + np.float32(1e-4)}
        draw = generator(number)
        sent, _ = encode_update(trained, received, {}, payload, lambda name, draw=draw: draw)
        held = decode_update(sent, received, held, payload)
    assert np.allclose(held["a"], 1.02, atol=1e-4)


def test_an_error_names_the_matrix():
    payload = Payload(format="int4")
    sent, _ = encode_update(random_matrices("trained"), ZERO, {}, payload, lambda name: generator(0, name))
    sent["b"][:4] = np.frombuffer(np.float32("nan").tobytes(), np.uint8)
    with pytest.raises(AirtuneError, match="an update whose matrix b has a scale that is negative or not"):
        decode_update(sent, ZERO, ZERO, payload)
