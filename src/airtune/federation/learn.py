"""What a round teaches: clients train, the server merges and judges. It knows nothing of radio or seconds.

So methods that send the same clients through the same training learn the same, whatever their clocks say,
and a `Learner` with a folder of learnt rounds trains each of them once.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from airtune.costs.count import upload_forms
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.exchange import blame, content_of, exchange, nodes_by_client
from airtune.federation.gradients import products
from airtune.federation.grid import InProcessGrid
from airtune.federation.judge import Judge
from airtune.federation.learnt_rounds import (
    ClientTraining,
    LearntRound,
    LearntRounds,
    first_key,
    next_key,
)
from airtune.federation.messages import Assignment, Update, adapter_bytes
from airtune.federation.setting import Setting
from airtune.learning.local_data import client_examples
from airtune.payload.update import decode_update
from airtune.pruning.adapters import Adapter, check_update, initial_adapter, slice_adapter, slice_sent

Listener = Callable[[str, float], None]


class StateGoneError(Exception):
    """A round has to be learnt after rounds of which only the facts are left."""


def train_clients(
    grid: Grid,
    nodes: Mapping[int, int],
    setting: Setting,
    adapter: Adapter,
    assignments: Mapping[int, Assignment],
    on_client: Listener,
) -> tuple[dict[int, Adapter], dict[int, ClientTraining]]:
    """The matrices that every client has trained, and what its training was.

    Args:
        nodes: node of every client, from `nodes_by_client`.
        assignments: by client, their adapters still empty.
        on_client: told (client id, training loss) of every client as it finishes.

    Raises:
        AirtuneError: a client fails or its update cannot be merged; names the client.
    """
    members, full = setting.scenario.members(), setting.measured.path.full
    payload, number = setting.scenario.payload, next(iter(assignments.values())).round_number
    contents = {
        client: replace(asked, adapter=slice_sent(adapter, full, asked.reduction)).to_content()
        for client, asked in assignments.items()
    }
    training: dict[int, ClientTraining] = {}
    trained: dict[int, Adapter] = {}
    for client, reply in exchange(grid, nodes, contents, number):
        name, reduction = members[client].id, assignments[client].reduction
        shape = reduction.shape(full)
        with blame(f"round {number}: client {name}"):
            content = content_of(reply)
            update = Update.from_content(content, upload_forms(shape, payload))
            held = slice_adapter(adapter, full, reduction, trained_only=True)
            trained[client] = decode_update(update.matrices, held, payload)
            check_update(trained[client], shape)
        sent = adapter_bytes(contents[client]), adapter_bytes(content)
        training[client] = ClientTraining(update.loss, update.work, *sent)
        on_client(name, update.loss)
    # Sorted: floating-point sums must not depend on who answered first.
    return dict(sorted(trained.items())), training


def merge(
    setting: Setting,
    adapter: Adapter,
    assignments: Mapping[int, Assignment],
    trained: Mapping[int, Adapter],
) -> Adapter:
    """The next adapter, from what clients have trained of it.

    Args:
        assignments: at least those of the clients in `trained`, which is in their order.

    Raises:
        AirtuneError: an update cannot be merged.
    """
    holders = [
        (assignments[client].weight, assignments[client].reduction, update)
        for client, update in trained.items()
    ]
    return setting.method.aggregate(adapter, setting.measured.path.full, holders)


class Learner:
    """Learns rounds over a grid, or reads what `kept` holds of them; without `kept` it learns all."""

    def __init__(self, grid: Grid, setting: Setting, kept: LearntRounds | None = None) -> None:
        self._grid, self._setting, self._kept = grid, setting, kept

    def begin(self) -> LearntRound:
        """Before the first round: the initial adapter and its test loss.

        Raises:
            AirtuneError: clients, data or model are not usable.
        """

        def judge() -> LearntRound:
            client_examples(self._setting.scenario)
            adapter = initial_adapter(self._setting.measured.path.full, self._setting.scenario.seed)
            return LearntRound(key, adapter, {}, {}, np.zeros((0, 0)), *self.losses(adapter))

        key = first_key(self._setting.scenario)
        return self._known_or(key, judge)

    def learn(
        self, before: Checkpoint, assignments: Mapping[int, Assignment], on_client: Listener
    ) -> LearntRound:
        """The round of `assignments` (by client, without adapters), which follows `before`.

        Raises:
            AirtuneError: a client fails or its update cannot be merged; names the client.
            StateGoneError: it is not known, and `before` has no adapter to learn it from.
        """

        def train() -> LearntRound:
            trained, training = self.train(before, assignments, told)
            merged = merge(self._setting, before.adapter, assignments, trained)
            moved = products(before.adapter, list(trained.values()))
            states = self.client_states()
            return LearntRound(key, merged, states, training, moved, *self.losses(merged))

        def told(client: str, loss: float) -> None:
            heard.append(client)
            on_client(client, loss)

        heard: list[str] = []
        key = next_key(before.key, self._setting.method, assignments)
        found = self._known_or(key, train)
        if not heard:
            members = self._setting.scenario.members()
            for client, done in sorted(found.training.items()):
                on_client(members[client].id, done.loss)
        return found

    def train(
        self, before: Checkpoint, assignments: Mapping[int, Assignment], on_client: Listener
    ) -> tuple[dict[int, Adapter], dict[int, ClientTraining]]:
        """`train_clients` from a round's end, whatever is known of the next round.

        Raises:
            AirtuneError: a client fails or its update cannot be merged; names the client.
            StateGoneError: `before` has no adapter.
        """
        if not before.adapter:
            raise StateGoneError
        if isinstance(self._grid, InProcessGrid):
            self._grid.restore(before.clients)  # rounds that were known have not changed them
        return train_clients(self._grid, self._nodes, self._setting, before.adapter, assignments, on_client)

    def losses(self, adapter: Adapter) -> tuple[float, dict[str, float]]:
        """Of the full model with this adapter, see `Judge`."""
        return self._judge.losses(adapter)

    def client_states(self) -> dict[str, npt.NDArray[Any]]:
        """What clients in this process keep: real nodes keep their own, theirs would be lost with it."""
        return self._grid.client_states() if isinstance(self._grid, InProcessGrid) else {}

    def _known_or(self, key: str, learn: Callable[[], LearntRound]) -> LearntRound:
        found = self._kept.find(key) if self._kept else None
        if found is not None:
            return found
        with self._kept.lock(key) if self._kept else nullcontext():
            # Another process may have learnt it while this one waited.
            found = self._kept.find(key) if self._kept else None
            if found is None:
                found = learn()
                if self._kept:
                    self._kept.keep(found)
        return found

    @cached_property
    def _judge(self) -> Judge:
        """Loads the model: only where something has to be learnt."""
        return Judge(self._setting.scenario)

    @cached_property
    def _nodes(self) -> dict[int, int]:
        return nodes_by_client(self._grid, [member.id for member in self._setting.scenario.members()])
