"""HeteroFL and FedRolex: which units of a layer a client trains."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from airtune.methods import METHODS
from airtune.methods.heterofl import LEVELS


def kept(name, full, priced, number=1) -> list[tuple[np.ndarray, np.ndarray]]:
    """(neurons, groups) of the first layer, client by client."""
    found = METHODS[name].submodels(full, priced(full), number)
    for one in found:
        assert (one.neurons == one.neurons[0]).all()
        assert (one.groups == one.groups[0]).all()
        assert (one.first_trained, one.examples, one.rank) == (0, 1.0, None)
    return [(one.neurons[0], one.groups[0]) for one in found]


def test_heterofl_keeps_nested_prefixes(full, priced):
    sizes = []
    for number in (1, 9):
        clients = kept("heterofl", full, priced, number)
        for neurons, groups in clients:
            assert neurons[: neurons.sum()].all()
            assert groups[: groups.sum()].all()
        sizes.append([(int(neurons.sum()), int(groups.sum())) for neurons, groups in clients])
    assert sizes[0] == sizes[1]  # a client keeps its level
    assert sizes[0][2:] == [(32, 4), (32, 4)]
    assert all(pair in {(int(32 * level), max(1, int(4 * level))) for level in LEVELS} for pair in sizes[0])
    assert sizes[0][0] < sizes[0][1] < sizes[0][2]


@given(number=st.integers(1, 1000))
def test_fedrolex_rolls_one_unit_a_round(full, priced, number):
    prefixes, now = kept("heterofl", full, priced), kept("fedrolex", full, priced, number)
    for client in range(4):
        for first, rolled in zip(prefixes[client], now[client], strict=True):
            assert (rolled == np.roll(first, number - 1)).all()


def test_fedrolex_trains_every_unit_in_as_many_rounds_as_there_are(full, priced):
    seen = sum(kept("fedrolex", full, priced, number)[0][0].astype(int) for number in range(1, 33))
    assert (seen == seen[0]).all()
    assert seen[0] > 0
