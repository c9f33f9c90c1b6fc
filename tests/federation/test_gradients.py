"""How unlike others a client's gradients are, and how noisy, from noisy halves."""

import numpy as np
import pytest

from airtune.costs.error import Gradients
from airtune.federation.gradients import LEAST, MOST, MOST_NOISE, update
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


def measured(sketches: dict, weight: np.ndarray, examples: float = 1.0) -> Gradients:
    """What one round tells, without what was known before."""
    count = len(weight)
    known = Gradients(np.ones(count), np.ones(count))
    for _ in range(60):  # until nothing is left of what was known before
        known = update(known, sketches, dict.fromkeys(sketches, examples), weight)
    return known


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_noise_does_not_look_like_data_of_one_s_own(noise):
    alike = measured(fleet([0.0] * 6, noise), np.full(6, 1 / 6)).unlike
    assert alike.max() < 0.35
    assert alike.mean() < 0.2
    unlike = measured(fleet([0.0] * 5 + [1.5], noise), np.full(6, 1 / 6)).unlike
    assert unlike[5] == MOST
    assert unlike[:5].max() < 0.5


def test_it_is_the_relative_square_of_the_difference():
    sketches = fleet([0.3, 0.6, 0.9], noise=0.0)
    weight = np.array([0.5, 0.3, 0.2])
    each = np.array([[sketches[client][layer][0] for layer in range(LAYERS)] for client in range(3)])
    mean = np.einsum("k,klb->lb", weight, each)
    expected = np.sum((each - mean) ** 2, axis=(1, 2)) / np.sum(mean**2)
    assert measured(sketches, weight).unlike == pytest.approx(expected, rel=1e-4)


def test_noise_is_that_of_the_mean_of_both_halves_at_full_batches():
    found = measured(fleet([0.0] * 4, noise=1.0), np.full(4, 0.25)).noise
    # Halves of variance 1 have a mean of variance 1/2, over a squared gradient of 1.
    assert found == pytest.approx([0.5] * 4, rel=0.15)
    fewer = measured(fleet([0.0] * 4, noise=1.0), np.full(4, 0.25), examples=0.5).noise
    assert fewer == pytest.approx(found / 2)
    assert measured(fleet([0.0] * 4, noise=0.0), np.full(4, 0.25)).noise == pytest.approx([LEAST] * 4)
    assert measured(fleet([0.0] * 4, noise=10.0, seed=3), np.full(4, 0.25)).noise.max() <= MOST_NOISE


def test_only_layers_in_common_are_compared():
    sketches = fleet([0.0, 0.0, 0.0], noise=0.0)
    for layer in range(20):
        del sketches[0][layer]
        sketches[1][layer] = np.full((2, BUCKETS), 1e3, np.float32)
    assert measured(sketches, np.full(3, 1 / 3)).unlike.tolist() == [LEAST] * 3


@pytest.mark.parametrize("sketches", [{}, {0: {}}])
def test_where_nothing_can_be_told_nothing_changes(sketches):
    """No client, no layer."""
    before = Gradients(np.full(2, 0.3), np.full(2, 0.7))
    assert update(before, sketches, dict.fromkeys(sketches, 1.0), np.full(2, 0.5)) is before


def test_what_is_known_is_half_of_what_was_and_fades_without_a_look():
    """Of the absent, towards two gradients at right angles; a gradient's own length does not fade with it."""
    weight = np.full(3, 1 / 3)
    sketches = fleet([0.5, 0.0, 0.5], noise=0.2)
    everybody = measured(sketches, weight)
    del sketches[1]
    two = measured(sketches, weight)
    after = update(everybody, sketches, {0: 1.0, 2: 1.0}, weight)
    distance = everybody.apart * everybody.square
    assert after.apart[0, 2] * after.square == pytest.approx(distance[0, 2], rel=1e-5)
    assert after.apart[0, 1] * after.square == pytest.approx(
        0.95 * distance[0, 1] + 0.05 * 2 * two.square, rel=0.01
    )
    assert after.noise == pytest.approx(
        0.5 * everybody.noise + 0.5 * np.where([1, 0, 1], two.noise, everybody.noise)
    )
    assert after.square == pytest.approx((everybody.square + two.square) / 2, rel=1e-5)


def test_clients_who_were_away_while_others_learnt_weigh_more():
    """What the others' gradients have lost of their length, those of the absent have not."""
    weight = np.full(4, 0.25)
    sketches = fleet([1.0, 1.0, 0.1, 0.1], noise=0.0)
    known = measured(sketches, weight)
    present = np.array([False, False, True, True])
    before = known.off(weight, present)
    learnt = {client: {layer: 0.3 * part for layer, part in sketches[client].items()} for client in (2, 3)}
    for _ in range(5):
        known = update(known, learnt, {2: 1.0, 3: 1.0}, weight)
    assert known.off(weight, present) > 3 * before


def test_a_gradient_lost_in_noise_is_taken_to_be_no_shorter_than_that():
    """Halves that contradict one another tell no length."""
    halves = np.stack([np.ones(64), -np.ones(64)]).astype(np.float32)
    known = update(Gradients(np.full(2, 0.3), np.full(2, 0.7)), {0: {0: halves}}, {0: 1.0}, np.full(2, 0.5))
    assert known.square == pytest.approx(64 / MOST_NOISE)
    assert np.isfinite(known.apart).all()


def test_a_run_tells_what_it_knows(finished):
    """The tiny scenario's clients draw from the same text."""
    rounds = [event for event in read_events(finished / "events.jsonl") if event["event"] == "round"]
    unlike = np.array([event["gradients"]["unlike"] for event in rounds])
    noise = np.array([event["gradients"]["noise"] for event in rounds])
    assert unlike.shape == noise.shape == (3, len(rounds[0]["clients"]))
    assert ((unlike >= LEAST) & (unlike <= MOST)).all()
    assert ((noise >= LEAST) & (noise <= MOST_NOISE)).all()
    assert unlike[-1].mean() < 0.5
