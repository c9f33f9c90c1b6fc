"""What a round teaches: clients train, the server merges and judges. It knows nothing of radio or seconds.

So methods that send the same clients through the same training learn the same, whatever their clocks say,
and a `Learner` with a folder of learnt rounds trains each of them once.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from airtune.errors import AirtuneError
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.exchange import nodes_now
from airtune.federation.gradients import products
from airtune.federation.grid import InProcessGrid
from airtune.federation.judge import Judge
from airtune.federation.learnt_rounds import (
    LearntRound,
    LearntRounds,
    first_key,
    next_key,
    without,
)
from airtune.federation.messages import Assignment
from airtune.federation.overdue import Overdue
from airtune.federation.setting import Setting
from airtune.federation.trainings import Listener, Trainings, train_clients
from airtune.learning.local_data import client_examples
from airtune.pruning.adapters import Adapter, initial_adapter


class StateGoneError(Exception):
    """A round has to be learnt after rounds of which only the facts are left."""


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
    """Learns rounds over a grid, or reads what `kept` holds of them; without `kept` it learns all.

    `nodes` are those of all clients, from `nodes_by_client`; a round waits for replies until `deadline_s`.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[int, int],
        setting: Setting,
        kept: LearntRounds | None = None,
        deadline_s: float | None = None,
    ) -> None:
        self._grid, self._nodes, self._setting, self._kept = grid, nodes, setting, kept
        self._overdue = Overdue(deadline_s)

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

        It is merged from the updates that came; who has failed is left out of it.

        Raises:
            AirtuneError: no update came, says why none did; or what was merged is of no use.
            StateGoneError: it is not known, and `before` has no adapter to learn it from.
        """

        def train() -> LearntRound:
            done = self.train(before, assignments, told)
            if not done.trained:
                raise self.nobody(before.round_number + 1, done.failed)
            merged = merge(self._setting, before.adapter, assignments, done.trained)
            # With adapters begun anew there is nothing that all clients' would have moved from.
            begun = {} if self._setting.method.stacks else before.adapter
            moved = products(begun, list(done.trained.values()))
            states, losses = self.client_states(), self.losses(merged)
            own = without(key, done.failed)
            return LearntRound(own, merged, states, done.facts, moved, *losses, done.failed, done.late)

        def told(client: str, loss: float | None) -> None:
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
    ) -> Trainings:
        """`train_clients` from a round's end, whatever is known of the next round.

        Raises:
            StateGoneError: `before` has no adapter.
        """
        if not before.adapter:
            raise StateGoneError
        if isinstance(self._grid, InProcessGrid):
            self._grid.restore(before.clients)  # rounds that were known have not changed them
        self._nodes = nodes_now(self._grid, self._nodes)
        return train_clients(
            self._grid,
            self._nodes,
            self._setting,
            before.adapter,
            assignments,
            on_client,
            self._overdue,
        )

    def losses(self, adapter: Adapter) -> tuple[float, dict[str, float]]:
        """Of the full model with this adapter, see `Judge`. Raises AirtuneError if they are no numbers."""
        loss, group_loss = self._judge.losses(adapter)
        if not np.isfinite([loss, *group_loss.values()]).all():
            raise AirtuneError("the merged adapter has no finite test loss: the training has diverged")
        return loss, group_loss

    def client_states(self) -> dict[str, npt.NDArray[Any]]:
        """What clients in this process keep: real nodes keep their own, theirs would be lost with it."""
        return self._grid.client_states() if isinstance(self._grid, InProcessGrid) else {}

    def nobody(self, round_number: int, failed: Mapping[int, str]) -> AirtuneError:
        """The error of a round without any update."""
        members = self._setting.scenario.members()
        named = "; ".join(f"client {members[client].id}: {why}" for client, why in failed.items())
        return AirtuneError(f"round {round_number}: no update came; {named}")

    def _known_or(self, key: str, learn: Callable[[], LearntRound]) -> LearntRound:
        found = self._kept.find(key) if self._kept else None
        if found is not None:
            return found
        with self._kept.lock(key) if self._kept else nullcontext():
            # Another process may have learnt it while this one waited.
            found = self._kept.find(key) if self._kept else None
            if found is None:
                found = learn()
                if self._kept and not found.failed:  # that some have failed says nothing of the next time
                    self._kept.keep(found)
        return found

    @cached_property
    def _judge(self) -> Judge:
        """Loads the model: only where something has to be learnt."""
        return Judge(self._setting.scenario)
