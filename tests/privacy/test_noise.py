"""Clipping never exceeds, noise is normal and its own for every question and update, and keys are secrets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from airtune import AirtuneError
from airtune.privacy.noise import client_key, clipped, privatised
from airtune.scenario import Privacy

KEY, QUESTION = b"k" * 32, b"what is asked"
FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
UPDATES = st.dictionaries(
    st.text(min_size=1, max_size=9),
    npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FLOATS),
    min_size=1,
    max_size=4,
)


def length(update: dict) -> float:
    return float(np.sqrt(sum(np.square(part.astype(np.float64)).sum() for part in update.values())))


def noise_of(update: dict, privacy: Privacy, key: bytes = KEY, question: bytes = QUESTION) -> np.ndarray:
    """What was added to the clipped update, in units of its deviation."""
    received = {name: np.zeros_like(part) for name, part in update.items()}
    shown, clean = privatised(update, received, privacy, key, question), clipped(update, privacy.clip)
    deviation = privacy.noise * privacy.clip
    return np.concatenate([((shown[name] - clean[name]) / deviation).ravel() for name in update])


@settings(max_examples=50)
@given(UPDATES, st.floats(1e-9, 1e9))
def test_a_clipped_update_is_never_longer_and_otherwise_the_same(update, clip):
    found = clipped(update, clip)
    assert length(found) <= clip * (1 + 1e-12)
    if not np.isfinite(length(update)):
        assert length(found) == 0
        return
    scale = min(1.0, clip / max(length(update), 1e-300))
    for name, part in update.items():
        assert found[name] == pytest.approx(scale * part.astype(np.float64), rel=1e-9, abs=1e-300)


def test_noise_is_standard_normal_in_every_matrix_and_between_them():
    shapes = {"a": (100, 301), "b": (301, 99)}
    update = {name: np.full(shape, 1e-3, np.float32) for name, shape in shapes.items()}
    noise = noise_of(update, Privacy(clip=0.5, noise=2.0))
    error = 5 / np.sqrt(len(noise))  # of a mean, in standard errors
    assert abs(noise.mean()) < error
    assert abs(np.square(noise).mean() - 1) < error * np.sqrt(2)
    assert abs((noise**3).mean()) < error * np.sqrt(15)
    assert abs((noise**4).mean() - 3) < error * np.sqrt(96)
    for part in (0.5, 1.0, 2.0, 3.0):
        from_normal = {0.5: 0.617075, 1.0: 0.317311, 2.0: 0.045500, 3.0: 0.002700}[part]
        assert abs((np.abs(noise) > part).mean() - from_normal) < error * np.sqrt(from_normal)
    half = len(noise) // 2
    assert abs((noise[:half] * noise[half : 2 * half]).mean()) < error * np.sqrt(2)
    assert abs((noise[1:] * noise[:-1]).mean()) < error


@pytest.mark.parametrize(
    "other",
    [{"key": b"l" * 32}, {"question": b"what is asked next"}, {"moved": 2**-20}],
    ids=["key", "question", "update"],
)
def test_the_same_answer_has_the_same_noise_and_any_other_its_own(other):
    privacy, first = Privacy(clip=1.0, noise=1.0), {"a": np.linspace(0, 0.01, 2000, dtype=np.float32)[None]}
    moved = {"a": first["a"] + np.float32(other.pop("moved", 0))}
    noise, again, another = (
        noise_of(first, privacy),
        noise_of(first, privacy),
        noise_of(moved, privacy, **other),
    )
    assert (noise == again).all()
    assert abs((noise * another).mean()) < 5 / np.sqrt(len(noise))


def test_noise_joins_what_was_received():
    received, privacy = (
        {"a": np.ones((3, 4), np.float32), "b": np.ones((2, 2), np.float32)},
        Privacy(clip=1, noise=1e-6),
    )
    trained = {"a": received["a"] + np.float32(0.01)}
    found = privatised(trained, received, privacy, KEY, QUESTION)
    assert found.keys() == {"a"}
    assert found["a"].dtype == np.float32
    assert found["a"] == pytest.approx(trained["a"], abs=1e-5)


def test_a_key_is_a_file_of_the_node_or_the_seed_of_a_simulation(tmp_path):
    file = tmp_path / "noise-0.key"
    file.write_bytes(b"s" * 32)
    assert client_key({"noise-key": str(file)}, {"simulated": True}, 1, 0) == b"s" * 32
    assert client_key({}, {"simulated": True}, 1, 0) != client_key({}, {"simulated": True}, 1, 1)
    file.write_bytes(b"s" * 31)
    with pytest.raises(AirtuneError, match=r"noise-0\.key: found 31 bytes, expected a secret of 32 bytes"):
        client_key({"noise-key": str(file)}, {}, 1, 0)
    with pytest.raises(AirtuneError, match=r"none\.key: found No such file"):
        client_key({"noise-key": str(tmp_path / "none.key")}, {}, 1, 0)
    for run in ({}, {"simulated": False}):
        with pytest.raises(AirtuneError, match="no noise-key in the node configuration"):
            client_key({}, run, 1, 0)
