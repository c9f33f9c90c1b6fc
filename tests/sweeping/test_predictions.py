"""What is known of measured clients, for a fleet of other size."""

import numpy as np

from airtune.costs.error import Gradients
from airtune.sweeping.predictions import for_fleet

APART = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 5.0], [4.0, 5.0, 0.0]])
KNOWN = Gradients(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]), APART)
GROUPS = ["a", "a", "b"]


def test_the_same_fleet_knows_the_same():
    same = for_fleet(KNOWN, GROUPS, GROUPS)
    assert same.to_fields() == KNOWN.to_fields()


def test_each_client_stands_for_one_of_its_group():
    more = for_fleet(KNOWN, GROUPS, ["a", "a", "a", "b", "b"])
    assert more.unlike.tolist() == [0.1, 0.2, 0.1, 0.3, 0.3]
    assert more.noise.tolist() == [1.0, 2.0, 1.0, 3.0, 3.0]
    # The first and the third stand for one client, the last two for another: as far apart as its nearest.
    assert more.apart[0].tolist() == [0.0, 1.0, 1.0, 4.0, 4.0]
    assert more.apart[3].tolist() == [4.0, 5.0, 4.0, 0.0, 4.0]
    assert (more.apart == more.apart.T).all()


def test_fewer_clients_know_less():
    assert for_fleet(KNOWN, GROUPS, ["b", "a"]).apart.tolist() == [[0.0, 4.0], [4.0, 0.0]]
