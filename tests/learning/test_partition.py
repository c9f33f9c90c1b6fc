"""Every way of dividing the data: nothing held twice, sizes by weight, the same again for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.devices import CATALOGUE
from airtune.errors import InputError
from airtune.learning.partition import partition
from airtune.learning.tasks import Example
from airtune.scenario import Client

DEVICE = next(iter(CATALOGUE.values()))


def client(number: int, weight: float, labels: tuple[str, ...] | None = None) -> Client:
    return Client(
        id=f"c{number}", group=f"g{number}", device=DEVICE, cell=0, distance=100.0, link=None, memory=1e9,
        weight=weight, power=None, overhead_s=0.0, labels=labels,
    )  # fmt: skip


def examples(count: int, labels: int) -> list[Example]:
    return [Example(f"p{index}", f"r{index}", str(index % labels)) for index in range(count)]


@st.composite
def fleets(draw):
    raw = draw(st.lists(st.floats(0.5, 4.0), min_size=1, max_size=8))
    return [client(number, weight / sum(raw)) for number, weight in enumerate(raw)]


@given(
    fleets(),
    st.integers(80, 300),
    st.integers(1, 12),
    st.sampled_from(["iid", "dirichlet"]),
    st.floats(5e-324, 1e308),
    st.integers(0, 99),
)
def test_sizes_follow_weights_and_every_example_is_used_once(members, count, labels, kind, alpha, seed):
    data = examples(count, labels)
    held = partition(data, members, kind, alpha, seed)
    everything = sorted(index for indices in held for index in indices)
    assert everything == list(range(count))
    for member, indices in zip(members, held, strict=True):
        assert abs(len(indices) - member.weight * count) <= 1
        assert indices == sorted(indices)
    assert held == partition(data, members, kind, alpha, seed)


@given(st.lists(st.sets(st.sampled_from("01234"), min_size=1), min_size=1, max_size=6), st.integers(0, 99))
def test_labels_reach_only_the_clients_that_name_them(chosen, seed):
    members = [client(number, 1 / len(chosen), tuple(sorted(labels))) for number, labels in enumerate(chosen)]
    data = examples(200, 5)
    held = partition(data, members, "labels", 0.5, seed)
    for member, indices in zip(members, held, strict=True):
        assert {data[index].label for index in indices} == set(member.labels)
    everything = [index for indices in held for index in indices]
    assert len(everything) == len(set(everything))
    assert len(everything) == 40 * len(set.union(*chosen))


def test_a_shared_label_is_split_by_weight():
    members = [client(0, 0.6, ("0",)), client(1, 0.3, ("0", "1")), client(2, 0.1, ("1",))]
    data = examples(240, 2)
    held = partition(data, members, "labels", 0.5, 0)
    counts = [Counter(data[index].label for index in indices) for indices in held]
    assert counts == [{"0": 80}, {"0": 40, "1": 90}, {"1": 30}]


def test_odd_examples_of_many_labels_do_not_gather_at_one_client():
    labels = tuple(str(label) for label in range(50))
    members = [client(number, 0.25, labels) for number in range(4)]
    sizes = [len(indices) for indices in partition(examples(250, 50), members, "labels", 0.5, 3)]
    assert max(sizes) < 50 + 40
    assert min(sizes) >= 50


def test_alpha_runs_from_one_label_a_client_to_the_same_mix_for_all():
    data, members = examples(2000, 10), [client(number, 0.1) for number in range(10)]

    def largest_share(alpha: float) -> float:
        held = partition(data, members, "dirichlet", alpha, 0)
        counts = [Counter(data[index].label for index in indices) for indices in held]
        return float(np.mean([max(count.values()) / count.total() for count in counts]))

    assert largest_share(1e-4) > 0.5
    assert largest_share(1e-4) > largest_share(0.5) > largest_share(1e4)
    assert largest_share(1e4) < 0.17


def test_seeds_differ():
    data, members = examples(100, 5), [client(number, 0.25) for number in range(4)]
    for kind in ("iid", "dirichlet"):
        assert partition(data, members, kind, 0.5, 0) != partition(data, members, kind, 0.5, 1)


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_a_client_without_examples_is_an_error(kind):
    with pytest.raises(InputError, match=r"clients\.g\d\.share: found none of the 3 training examples"):
        partition(examples(3, 1), [client(number, 0.25) for number in range(4)], kind, 0.5, 0)
    with pytest.raises(InputError, match=r"clients\.g1\.share"):
        partition(examples(50, 1), [client(0, 0.999), client(1, 0.001)], kind, 0.5, 0)


def test_labels_that_nobody_has_are_an_error():
    with pytest.raises(InputError, match=r"clients\.g0\.labels: found 'x', expected labels .*: 0, 1"):
        partition(examples(10, 2), [client(0, 1.0, ("0", "x"))], "labels", 0.5, 0)
    with pytest.raises(InputError, match=r"clients\.g1\.labels: found none"):
        partition(examples(2, 2), [client(0, 0.9, ("0",)), client(1, 0.1, ("0",))], "labels", 0.5, 0)
