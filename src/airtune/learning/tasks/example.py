"""One example of a task, and a random draw from many."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Example:
    """The response follows the prompt as it stands, its leading space included. `label` divides the data."""

    prompt: str
    response: str
    label: str


def draw(examples: Iterable[Example], wanted: int, generator: np.random.Generator) -> list[Example]:
    """At most `wanted` examples in random order, each equally likely; only that many are held in memory."""
    keyed = ((generator.random(), number, example) for number, example in enumerate(examples))
    return [example for _, _, example in heapq.nsmallest(wanted, keyed)]
