"""An in-process Flower `Grid`: every message runs the ClientApp at once, in this process, in order."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
from flwr.app import DEFAULT_TTL, Array, ArrayRecord, Context, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

RUN_ID = 1
SERVER_NODE = 0


class InProcessGrid(Grid):
    """Clients 1..count as nodes of one process. Deterministic, no servers, no network.

    An exception in a client is raised from `push_messages`: with everything in one process there is
    nobody else to report it to.
    """

    def __init__(self, app: ClientApp, count: int, run_config: dict[str, Any]) -> None:
        self._app = app
        self._contexts = {
            node: Context(
                run_id=RUN_ID,
                node_id=node,
                node_config={"partition-id": node - 1, "num-partitions": count},
                state=RecordDict(),
                run_config=run_config,
            )
            for node in range(1, count + 1)
        }
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Any) -> None:
        """Nothing to do: there is one run."""

    @property
    def run(self) -> Any:
        """There is no SuperLink that keeps a record of runs."""
        raise RuntimeError("the in-process grid keeps no run record")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to one node."""
        metadata = Metadata(
            run_id=RUN_ID,
            message_id=f"{group_id}/{message_type}/{dst_node_id}",
            src_node_id=SERVER_NODE,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=time.time(),
            ttl=ttl or DEFAULT_TTL,
            message_type=message_type,
        )
        message: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
        return message

    def client_states(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays that clients keep between rounds, by "client/record/name"."""
        return {
            f"{context.node_config['partition-id']}/{record}/{name}": array.numpy()
            for context in self._contexts.values()
            for record, arrays in context.state.array_records.items()
            for name, array in arrays.items()
        }

    def restore(self, states: Mapping[str, npt.NDArray[Any]]) -> None:
        """Give the clients back what `client_states` told."""
        for key, array in states.items():
            client, record, name = key.split("/", 2)
            state = self._contexts[int(client) + 1].state
            if record not in state:
                state[record] = ArrayRecord()
            state.array_records[record][name] = Array(array)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes, always."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run every message's client now and keep its reply."""
        identifiers = []
        for message in messages:
            identifier = message.metadata.message_id
            self._replies[identifier] = self._app(message, self._contexts[message.metadata.dst_node_id])
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hand out replies, each once."""
        return [self._replies.pop(identifier) for identifier in message_ids if identifier in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push and pull in one."""
        return self.pull_messages(self.push_messages(messages))
