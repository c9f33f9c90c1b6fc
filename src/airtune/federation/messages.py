"""What travels between server and clients: one RecordDict each way, arrays and plain numbers only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from airtune.costs.count import Workload
from airtune.errors import AirtuneError
from airtune.federation.arrays import joined_record, read_asked, read_sent, sent_records, to_record
from airtune.payload.matrix import Form
from airtune.pruning.adapters import Adapter
from airtune.pruning.path import MeanInputs, Reduction

MOST_LOSS = 1e30  # what events can hold


@dataclass(frozen=True)
class Assignment:
    """What a client is asked to do in a round: train the sub-model `reduction` from `adapter` for `steps`.

    `adapter` is sent as `payload.download` makes it, and is float32 again when it has arrived. `proximal` is
    the weight that holds the client near it, 0 for none. `weight`, with which its update is merged, is the
    server's affair and not sent. Where adapters are stacked, the client has `merged` in its model already,
    and merges `adapter` too (`pruning.stacking`).
    """

    round_number: int
    steps: int
    reduction: Reduction
    proximal: float
    adapter: Mapping[str, npt.NDArray[Any]]
    weight: float = 1.0
    merged: Adapter | None = None

    def to_content(self) -> RecordDict:
        """As a RecordDict; the masks travel as bits."""
        masks = {"neurons": self.reduction.neurons, "groups": self.reduction.groups}
        task: dict[str, Any] = {
            "round": self.round_number,
            "steps": self.steps,
            "proximal": self.proximal,
            "first-trained": self.reduction.first_trained,
            "examples": self.reduction.examples,
            "rank": self.reduction.rank or 0,
        }
        for name, mask in masks.items():
            task[f"{name}-a-layer"] = mask.shape[1]
        packed = {name: np.packbits(mask, axis=1) for name, mask in masks.items()}
        records: dict[str, ArrayRecord | ConfigRecord] = {
            **sent_records("adapter", self.adapter),
            "reduction": to_record(packed),
            "mean": to_record(_lost_means(self.reduction)),
            "task": ConfigRecord(task),
        }
        if self.merged is not None:
            records |= sent_records("merged", self.merged)
        return RecordDict(records)  # type: ignore[arg-type]

    @staticmethod
    def from_content(content: RecordDict) -> "Assignment":
        """The other way. Raises KeyError or ValueError where something is missing."""
        task: Mapping[str, Any] = content.config_records["task"]
        packed = content.array_records["reduction"]
        masks = {
            name: np.unpackbits(packed[name].numpy(), axis=1, count=int(task[f"{name}-a-layer"])).astype(bool)
            for name in ("neurons", "groups")
        }
        lost = {name: array.numpy() for name, array in content.array_records["mean"].items()}
        mean = _mean_inputs(lost, masks)
        reduction = Reduction(
            masks["neurons"],
            masks["groups"],
            int(task["first-trained"]),
            float(task["examples"]),
            mean,
            int(task["rank"]) or None,
        )
        return Assignment(
            int(task["round"]),
            int(task["steps"]),
            reduction,
            float(task["proximal"]),
            read_sent("adapter", content),
            merged=read_sent("merged", content) if "merged" in content else None,
        )


@dataclass(frozen=True)
class Update:
    """What a client sends back: its trained adapters, its training loss and the work of every step.

    `client` and `round_number` say whose update it is. `matrices` are the adapters in the form of the run's
    payload (`airtune.payload`). With privacy `loss` is None and `work` empty: they are not noised.
    """

    client: int
    round_number: int
    matrices: Mapping[str, npt.NDArray[Any]]
    loss: float | None
    work: tuple[Workload, ...]

    def to_content(self) -> RecordDict:
        """As a RecordDict."""
        origin = ConfigRecord({"client": self.client, "round": self.round_number})
        content = RecordDict({"adapter": joined_record(self.matrices), "origin": origin})
        if self.loss is not None:
            content["metrics"] = MetricRecord(
                {
                    "loss": self.loss,
                    "rows": [step.rows for step in self.work],
                    "length": [float(step.length) for step in self.work],
                    "labels": [float(step.labels) for step in self.work],
                }
            )
        return content

    @staticmethod
    def from_content(content: RecordDict, asked: "Asked") -> "Update":
        """The other way. Whose it is and the size of everything is checked before any of it is read.

        Raises:
            AirtuneError: it is not what was `asked` for: another client's or round's, with more in it, with
                less, in another form, or with numbers that cannot be.
        """
        for name in content:
            if name not in ("adapter", "origin", *(() if asked.withheld else ("metrics",))):
                raise AirtuneError(f"an update with a record {name} that was not asked for")
        try:
            asked.check_origin(content.config_records["origin"])
            loss, work = (None, ()) if asked.withheld else asked.told(content.metric_records["metrics"])
            matrices = read_asked(content.array_records["adapter"], asked.forms)
        except (KeyError, TypeError, ValueError, OverflowError, EOFError) as error:
            raise AirtuneError(f"a reply that is not an update: {error}") from error
        return Update(asked.client, asked.round_number, matrices, loss, work)


@dataclass(frozen=True)
class Asked:
    """What an update has to be, for the server to read it.

    Attributes:
        client, round_number, steps: who is to train for how many steps, and when.
        largest: the size that none of its steps can exceed.
        forms: type and shape of all the matrices.
        withheld: whether loss and steps stay with the client.
    """

    client: int
    round_number: int
    steps: int
    largest: Workload
    forms: Mapping[str, Form]
    withheld: bool = False

    def check_origin(self, origin: Mapping[str, Any]) -> None:
        """Refuse what is another's. KeyError where it is no update at all."""
        if origin["client"] != self.client:
            raise AirtuneError(f"an update that says it is client {origin['client']}'s")
        if origin["round"] != self.round_number:
            raise AirtuneError(f"an update of round {origin['round']}")

    def told(self, metrics: Mapping[str, Any]) -> tuple[float, tuple[Workload, ...]]:
        """Training loss and steps; refuses too many or too large. KeyError or the like if it is neither."""
        if len(metrics["rows"]) != self.steps:
            raise AirtuneError(f"an update of another number of steps than {self.steps}")
        loss, work = float(metrics["loss"]), _work(metrics)
        if not 0 <= loss <= MOST_LOSS:
            raise AirtuneError("a training loss that is negative, endless or no number")
        if not all(map(self._allows, work)):
            raise AirtuneError("a training step without rows, length or labels, or with more than it had")
        return loss, work

    def _allows(self, step: Workload) -> bool:
        """Whether it can have been trained."""
        most = self.largest
        return (
            0 < step.rows <= most.rows and 0 < step.length <= most.length and 0 < step.labels <= most.labels
        )


def _work(metrics: Mapping[str, Any]) -> tuple[Workload, ...]:
    columns = zip(metrics["rows"], metrics["length"], metrics["labels"], strict=True)
    return tuple(Workload(int(rows), float(length), float(labels)) for rows, length, labels in columns)


def adapter_bytes(content: RecordDict) -> int:
    """Bytes of the adapters in a message, headers and names included: what the air interface carries.

    With them count the mean inputs of the units that a client's sub-model lost, if it compensates for them.
    """
    counted = ("adapter", "adapter-layout", "mean")
    return sum(content[name].count_bytes() for name in counted if name in content)


def _lost_means(reduction: Reduction) -> dict[str, npt.NDArray[np.float32]]:
    """The mean inputs of lost units, all that a client needs: (lost groups, queries) and (lost neurons,)."""
    if reduction.mean is None or reduction.is_whole:
        return {}
    of_groups = reduction.mean.queries.reshape(*reduction.groups.shape, -1)
    return {
        "queries": of_groups[~reduction.groups],
        "neurons": reduction.mean.neurons[~reduction.neurons],
    }


def _mean_inputs(
    lost: Mapping[str, npt.NDArray[np.float32]], masks: Mapping[str, npt.NDArray[np.bool_]]
) -> MeanInputs | None:
    """The other way; those of kept units, which nobody asks for, are zero."""
    if not lost:
        return None
    queries = np.zeros((*masks["groups"].shape, lost["queries"].shape[1]), dtype=np.float32)
    neurons = np.zeros(masks["neurons"].shape, dtype=np.float32)
    queries[~masks["groups"]], neurons[~masks["neurons"]] = lost["queries"], lost["neurons"]
    return MeanInputs(queries.reshape(len(queries), -1), neurons)
