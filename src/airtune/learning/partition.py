"""Who holds which training examples: at random, Dirichlet over labels, or each group the labels it names."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from airtune.errors import InputError, words
from airtune.learning.tasks.example import Example
from airtune.randomness import generator
from airtune.scenario import Client, Scenario


def partition(
    examples: Sequence[Example], members: Sequence[Client], kind: str, alpha: float, seed: int
) -> list[list[int]]:
    """Sorted indices of the examples that every member holds; no example is held twice.

    Args:
        kind: `iid`, sizes proportional to weight; `dirichlet`, the same sizes, each client's mix of labels
            drawn from Dirichlet(alpha) and followed while the labels last (Hsu et al. 2019); `labels`, every
            label split by weight among the clients that name it.
        alpha: concentration of `dirichlet`: small gives each client few labels, large gives all the same mix.

    Raises:
        InputError: a client would hold nothing, or names a label that no example has.
    """
    if kind == "labels":
        held = _by_label(examples, members, seed)
    else:
        sizes = _sizes(len(examples), [member.weight for member in members])
        held = _iid(sizes, seed) if kind == "iid" else _dirichlet(examples, members, sizes, alpha, seed)
    for member, indices in zip(members, held, strict=True):
        if not indices:
            field = f"clients.{member.group}.{'labels' if kind == 'labels' else 'share'}"
            found = words(f"none of the {len(examples)} training examples for {member.id}")
            raise InputError("scenario", field, found, "at least one for every client")
    return [sorted(indices) for indices in held]


def held_labels(scenario: Scenario) -> dict[str, frozenset[str]]:
    """The labels each client group holds, for scenarios that give groups labels of their own."""
    return {
        group.id: frozenset(map(str, group.labels))
        for group in scenario.clients
        if group.labels is not None and scenario.partition.kind == "labels"
    }


def own_text(scenario: Scenario, labels: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """Which of the examples with these labels are like each client group's own, of groups with any such."""
    chosen = {group: np.isin(labels, list(held)) for group, held in held_labels(scenario).items()}
    return {group: own for group, own in chosen.items() if own.any()}


def _sizes(total: int, weights: Sequence[float]) -> npt.NDArray[np.int64]:
    """Whole sizes that sum to `total`, each within one of its exact share (largest remainders)."""
    exact = total * np.array(weights) / np.sum(weights)
    sizes: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    neediest = np.argsort(sizes - exact, kind="stable")[: total - sizes.sum()]
    sizes[neediest] += 1
    return sizes


def _split(indices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> list[list[int]]:
    """`indices` cut into pieces of the given sizes."""
    return [piece.tolist() for piece in np.split(indices, np.cumsum(sizes)[:-1])]


def _iid(sizes: npt.NDArray[np.int64], seed: int) -> list[list[int]]:
    return _split(generator(seed, "partition", "iid").permutation(int(sizes.sum())), sizes)


def _dirichlet(
    examples: Sequence[Example],
    members: Sequence[Client],
    sizes: npt.NDArray[np.int64],
    alpha: float,
    seed: int,
) -> list[list[int]]:
    stock = list(_shuffled_by_label(examples, generator(seed, "partition", "stock")).values())
    left = np.array([len(indices) for indices in stock])
    concentration = np.full(len(stock), min(alpha, 1e9))  # from there on mixes are even, and sums stay finite
    mixes = [generator(seed, "partition", "mix", member.id).dirichlet(concentration) for member in members]
    # Clients draw in a mixed order, so that running out of a label bends all mixes alike.
    draw = generator(seed, "partition", "draw")
    held: list[list[int]] = [[] for _ in members]
    for client in draw.permutation(np.repeat(np.arange(len(members)), sizes)):
        chance = mixes[client] * (left > 0)
        if chance.sum() <= 0:
            # A small alpha gives few labels, and none of this client's is left: a new mix of the others.
            mixes[client][left > 0] = draw.dirichlet(concentration[left > 0])
            chance = mixes[client] * (left > 0)
        label = draw.choice(len(stock), p=chance / chance.sum())
        left[label] -= 1
        held[client].append(stock[label].pop())
    return held


def _by_label(examples: Sequence[Example], members: Sequence[Client], seed: int) -> list[list[int]]:
    order = generator(seed, "partition", "labels")
    stock = _shuffled_by_label(examples, order)
    held: list[list[int]] = [[] for _ in members]
    for member in members:
        unknown = [label for label in member.labels or () if label not in stock]
        if unknown:
            expected = f"labels of the training examples: {', '.join(stock)}"
            raise InputError("scenario", f"clients.{member.group}.labels", unknown[0], expected)
    for label, indices in stock.items():
        holders = [number for number, member in enumerate(members) if label in (member.labels or ())]
        if holders:
            order.shuffle(holders)  # so that no client gets the odd example of every label
            sizes = _sizes(len(indices), [members[number].weight for number in holders])
            for number, piece in zip(holders, _split(np.array(indices), sizes), strict=True):
                held[number] += piece
    return held


def _shuffled_by_label(examples: Sequence[Example], order: np.random.Generator) -> dict[str, list[int]]:
    """Shuffled indices of each label's examples, labels in the order of their names."""
    stock: dict[str, list[int]] = {label: [] for label in sorted({example.label for example in examples})}
    for index in order.permutation(len(examples)).tolist():
        stock[examples[index].label].append(index)
    return stock
