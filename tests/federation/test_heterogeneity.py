"""How unlike others a client's gradients are, from noisy halves."""

import numpy as np
import pytest

from airtune.federation.heterogeneity import LEAST, MOST, measure, remember
from airtune.learning.sketch import BUCKETS
from airtune.results.events import read_events

LAYERS = 30


def fleet(own: list[float], noise: float, seed: int = 0) -> dict[int, dict[int, np.ndarray]]:
    """Clients whose gradients share one part, differ by `own` times another, and are measured with noise."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=(LAYERS, BUCKETS))
    found = {}
    for client, size in enumerate(own):
        exact = common + size * draw.normal(size=common.shape)
        halves = exact[:, None] + noise * draw.normal(size=(LAYERS, 2, BUCKETS))
        found[client] = {layer: halves[layer].astype(np.float32) for layer in range(LAYERS)}
    return found


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_noise_does_not_look_like_data_of_one_s_own(noise):
    alike = measure(fleet([0.0] * 6, noise), np.full(6, 1 / 6))
    assert max(alike.values()) < 0.35
    assert np.mean(list(alike.values())) < 0.2
    unlike = measure(fleet([0.0] * 5 + [1.5], noise), np.full(6, 1 / 6))
    assert unlike[5] == MOST
    assert max(value for client, value in unlike.items() if client < 5) < 0.5


def test_it_is_the_relative_square_of_the_difference():
    sketches = fleet([0.3, 0.6, 0.9], noise=0.0)
    weight = np.array([0.5, 0.3, 0.2])
    each = np.array([[sketches[client][layer][0] for layer in range(LAYERS)] for client in range(3)])
    mean = np.einsum("k,klb->lb", weight, each)
    expected = np.sum((each - mean) ** 2, axis=(1, 2)) / np.sum(mean**2)
    assert list(measure(sketches, weight).values()) == pytest.approx(expected, rel=1e-4)


def test_only_layers_in_common_are_compared():
    sketches = fleet([0.0, 0.0, 0.0], noise=0.0)
    for layer in range(20):
        del sketches[0][layer]
        sketches[1][layer] = np.full((2, BUCKETS), 1e3, np.float32)
    assert measure(sketches, np.full(3, 1 / 3)) == {0: LEAST, 1: LEAST, 2: LEAST}
    assert measure({0: {}, 1: sketches[1]}, np.full(3, 1 / 3)) == {}
    assert measure({}, np.full(3, 1 / 3)) == {}


def test_gradients_that_are_all_noise_tell_nothing():
    halves = np.stack([np.ones(BUCKETS), -np.ones(BUCKETS)]).astype(np.float32)
    assert measure({0: {0: halves}}, np.ones(1)) == {}


def test_what_is_known_fades():
    before = np.array([1.0, 1.0, 0.4])
    assert remember(before, {0: 0.2, 2: 0.8}) == pytest.approx([0.6, 1.0, 0.6])


def test_a_run_tells_what_it_knows(finished):
    """The tiny scenario's clients draw from the same text, and every round knows a little more of it."""
    rounds = [event for event in read_events(finished / "events.jsonl") if event["event"] == "round"]
    names = [row["id"] for row in rounds[0]["clients"]]
    for event in rounds:
        assert list(event["heterogeneity"]) == names
        assert all(LEAST <= value <= MOST for value in event["heterogeneity"].values())
    assert sum(rounds[-1]["heterogeneity"].values()) < sum(rounds[0]["heterogeneity"].values()) < len(names)
