"""Which examples a client holds, which batches it trains on in a round, and what everybody is tested on."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from airtune.learning.models import load_base
from airtune.learning.partition import partition
from airtune.learning.tasks import Example, load_task, own_examples
from airtune.learning.tokens import Batch, Encoded, batches, encode, fewer
from airtune.randomness import generator
from airtune.scenario import Scenario


def round_batches(
    scenario: Scenario, client: int, round_number: int, steps: int, share: float = 1.0, place: str = ""
) -> Iterator[Batch]:
    """A client's batches of one round: the same whatever the method, the engine or the order of calls.

    Args:
        share: of every batch's examples to train on.
        place: of the client's own data, if it has not its part of the scenario's.
    """
    base = load_base(scenario.model.name, scenario.model.dtype)
    encoded = client_own_examples(scenario, place) if place else client_examples(scenario)[client]
    order = generator(scenario.seed, "batches", round_number, client)
    whole = batches(encoded, scenario.training.batch_size, steps, order, base.tokenizer.pad_token_id)
    return fewer(whole, share, generator(scenario.seed, "examples", round_number, client))


@lru_cache(maxsize=1)
def client_examples(scenario: Scenario) -> list[list[Encoded]]:
    """Every client's tokenised training examples, its part of the scenario's data."""
    examples = load_task(scenario.task, scenario.seed).train
    held = partition(
        examples, scenario.members(), scenario.partition.kind, scenario.partition.alpha, scenario.seed
    )
    encoded = _encoded(scenario, examples)
    return [[encoded[index] for index in indices] for indices in held]


@lru_cache(maxsize=1)
def client_own_examples(scenario: Scenario, place: str) -> list[Encoded]:
    """The tokenised training examples of a client with data of its own."""
    return _encoded(scenario, own_examples(scenario.task, place, scenario.seed))


def test_set(scenario: Scenario) -> tuple[list[Encoded], list[str]]:
    """The tokenised test examples and their labels."""
    examples = load_task(scenario.task, scenario.seed).test
    return _encoded(scenario, examples), [example.label for example in examples]


def _encoded(scenario: Scenario, examples: Sequence[Example]) -> list[Encoded]:
    tokenizer = load_base(scenario.model.name, scenario.model.dtype).tokenizer
    return [encode(example, tokenizer, scenario.task.max_tokens) for example in examples]
