"""How unlike each other clients are and how noisy, from what they changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.costs.error import Gradients
from airtune.federation.gradients import LEAST, MOST, MOST_NOISE, products, update
from airtune.results.events import read_events

SIZE = 20_000


def fleet(own: list[float], noise: float, seed: int = 0) -> np.ndarray:
    """Products of clients whose signals share one part, differ by `own` times another, and have noise."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=SIZE)
    each = np.stack([common + size * draw.normal(size=SIZE) for size in own])
    each += noise * draw.normal(size=each.shape)
    return each @ each.T


def two_groups(noise: float, apart: float = 1.5) -> np.ndarray:
    """Clients 0 to 2 share a signal of their own, 3 to 7 another."""
    draw = np.random.default_rng(3)
    common, *groups = draw.normal(size=(3, SIZE))
    each = np.stack([common + apart * groups[int(client > 2)] for client in range(8)])
    each += noise * draw.normal(size=each.shape)
    return each @ each.T


def measured(found: np.ndarray, examples: float = 1.0, clients: list[int] | None = None) -> Gradients:
    """What one round tells of eight clients or fewer, without what was known before."""
    clients = list(range(len(found))) if clients is None else clients
    count = max(clients) + 1
    known = Gradients(np.ones(count), np.ones(count))
    for _ in range(60):  # until nothing is left of what was known before
        known = update(known, clients, found, dict.fromkeys(clients, examples), np.full(count, 1 / count))
    return known


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.5])
def test_noise_does_not_look_like_data_of_one_s_own(noise):
    assert measured(fleet([0.0] * 8, noise)).unlike.max() < 0.15
    known = measured(two_groups(noise))
    slow = np.arange(8) < 3
    assert known.apart[slow][:, ~slow].min() > 2
    assert known.apart[slow][:, slow].max() < 0.5
    assert known.apart[~slow][:, ~slow].max() < 0.5
    assert known.unlike[slow].min() > known.unlike[~slow].max() > 0.2


def test_the_distance_is_that_of_the_signals():
    """Two groups with nothing in common but a part: 2 · 1.5² over the mean signal's square."""
    known = measured(two_groups(noise=1.0))
    square = 1 + 1.5**2 * ((3 / 8) ** 2 + (5 / 8) ** 2)
    assert known.apart[0, 7] == pytest.approx(2 * 1.5**2 / square, rel=0.05)


def test_noise_is_relative_to_the_signal_at_full_batches():
    found = measured(fleet([0.0] * 4, noise=1.5)).noise
    assert found == pytest.approx([1.5**2] * 4, rel=0.1)
    assert measured(fleet([0.0] * 4, noise=1.5), examples=0.5).noise == pytest.approx(found / 2, rel=1e-4)
    assert measured(fleet([0.0] * 4, noise=0.0)).noise == pytest.approx([LEAST] * 4)
    assert measured(fleet([0.0] * 4, noise=10.0)).noise.max() <= MOST_NOISE


def test_clients_that_cancel_out_stay_finite():
    draw = np.random.default_rng(0)
    signal, noise = draw.normal(size=SIZE), draw.normal(size=(4, SIZE))
    each = np.array([1, 1, -1, -1])[:, None] * signal + noise
    known = measured(each @ each.T)
    assert (known.unlike == MOST).all()
    assert np.isfinite(known.apart).all()


@pytest.mark.parametrize("found", [np.zeros((0, 0)), np.eye(2), np.zeros((4, 4))])
def test_where_nothing_can_be_told_nothing_changes(found):
    """Two clients never compared, or no matrix in common."""
    before = Gradients(np.full(4, 0.3), np.full(4, 0.7))
    clients = list(range(len(found)))
    assert update(before, clients, found, dict.fromkeys(clients, 1.0), np.full(4, 0.25)) is before


def test_what_is_known_is_half_of_what_was_and_the_absent_move_along():
    weight = np.full(8, 1 / 8)
    everybody = measured(two_groups(1.0))
    part = [1, 2, 4, 6]
    four = measured(two_groups(2.0)[np.ix_(part, part)], clients=part)
    found = two_groups(2.0)[np.ix_(part, part)]
    after = update(everybody, part, found, dict.fromkeys(part, 1.0), weight)
    assert after.apart[1, 6] == pytest.approx((everybody.apart[1, 6] + four.apart[1, 6]) / 2, rel=0.05)
    assert after.apart[0, 6] / everybody.apart[0, 6] == pytest.approx(
        after.apart[1, 6] / everybody.apart[1, 6], rel=0.05
    )
    assert after.noise[6] == pytest.approx((everybody.noise[6] + four.noise[6]) / 2, rel=0.05)
    trained = 2 * after.noise[part] - everybody.noise[part]
    assert after.noise[7] == pytest.approx((everybody.noise[7] + trained.mean()) / 2)


@pytest.mark.parametrize(("noise", "pair"), [(1.0, (4, 6)), (1.0, (1, 6)), (2.0, (1, 2))])
def test_of_two_the_noise_is_told_once_their_distance_is_known(noise, pair):
    """A shared part of length one, and one of each group's own that is 1.5 times as long."""
    everybody = measured(two_groups(0.5))
    known, found = everybody, two_groups(noise)[np.ix_(pair, pair)]
    for _ in range(60):
        known = update(known, pair, found, dict.fromkeys(pair, 1.0), np.full(8, 1 / 8))
    square = 1 + 1.5**2 * ((3 / 8) ** 2 + (5 / 8) ** 2)
    assert known.noise == pytest.approx([noise**2 / square] * 8, rel=0.25)
    assert (known.apart == everybody.apart).all()


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_products_are_of_changes_in_what_all_have_in_full(count, seed):
    draw = np.random.default_rng(seed)
    before = {name: draw.normal(size=(3, 4)).astype(np.float32) for name in "abc"}
    trained = [{name: draw.normal(size=(3, 4)).astype(np.float32) for name in "abc"} for _ in range(count)]
    del trained[0]["a"]
    trained[-1]["b"] = trained[-1]["b"][:2]
    changes = np.stack([(part["c"] - before["c"]).ravel() for part in trained])
    assert products(before, trained) == pytest.approx(changes @ changes.T, rel=1e-4, abs=1e-4)


def test_a_run_tells_what_it_knows(finished):
    """The tiny scenario's clients draw from the same text."""
    rounds = [event for event in read_events(finished / "events.jsonl") if event["event"] == "round"]
    known = [Gradients.from_fields(event["gradients"]) for event in rounds]
    assert len(known) == 3
    for one in known:
        assert one.unlike.shape == one.noise.shape == (4,)
        assert ((one.unlike >= LEAST) & (one.unlike <= MOST)).all()
        assert ((one.noise >= LEAST) & (one.noise <= MOST_NOISE)).all()
        assert (one.apart == one.apart.T).all()
    assert known[-1].unlike.mean() < 0.5
