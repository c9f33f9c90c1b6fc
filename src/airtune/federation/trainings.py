"""Clients train at once: who is sent what, and whose reply is an update."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from flwr.app import RecordDict
from flwr.serverapp import Grid

from airtune.costs.count import Workload, upload_forms
from airtune.errors import AirtuneError, tamed
from airtune.federation.exchange import exchange
from airtune.federation.learnt_rounds import ClientTraining
from airtune.federation.messages import Asked, Assignment, Update, adapter_bytes
from airtune.federation.missing import work_in_vain
from airtune.federation.overdue import Late, Overdue
from airtune.federation.setting import Setting
from airtune.payload.download import pack_download, unpack_download
from airtune.payload.update import decode_update
from airtune.pruning.adapters import Adapter, check_update, slice_adapter, slice_sent
from airtune.pruning.stacking import fresh_adapter, merged_before, stack

Listener = Callable[[str, float | None], None]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Trainings:
    """What has come of a round's assignments, by client.

    Attributes:
        trained: the matrices that each has trained, in the clients' order.
        facts: what its training was.
        failed: whose update did not come or was refused, and why.
        late: replies of earlier rounds that came now, of which nothing is merged.
    """

    trained: dict[int, Adapter]
    facts: dict[int, ClientTraining]
    failed: dict[int, str]
    late: tuple[Late, ...] = ()


def train_clients(
    grid: Grid,
    nodes: Mapping[int, int],
    setting: Setting,
    adapter: Adapter,
    assignments: Mapping[int, Assignment],
    on_client: Listener,
    overdue: Overdue,
) -> Trainings:
    """Have clients train. A client that fails or is late, or whose reply is wrong, holds nobody up.

    Args:
        nodes: node of every client, from `nodes_by_client`; one without has failed.
        assignments: by client, their adapters still empty.
        on_client: told (client id, training loss unless withheld) of every client as it finishes.
        overdue: how long to wait, and whose replies of earlier rounds are still to come.
    """
    members = setting.scenario.members()
    number = next(iter(assignments.values())).round_number
    contents = {client: _content(setting, adapter, asked) for client, asked in assignments.items()}
    found = Trainings({}, {}, {})
    for client, reply in exchange(grid, nodes, contents, number, overdue):
        try:
            if isinstance(reply, AirtuneError):
                raise reply
            update, matrices = _read(setting, adapter, client, assignments[client], reply)
        except AirtuneError as error:
            found.failed[client] = tamed(str(error))
            continue
        sent = adapter_bytes(contents[client]), adapter_bytes(reply)
        found.trained[client] = matrices
        work = update.work or work_in_vain(setting, assignments[client]).steps
        found.facts[client] = ClientTraining(update.loss, tuple(work), *sent)
        on_client(members[client].id, update.loss)
    # Sorted: floating-point sums must not depend on who answered first.
    return Trainings(
        _sorted(found.trained), _sorted(found.facts), _sorted(found.failed), tuple(overdue.came())
    )


def _content(setting: Setting, adapter: Adapter, asked: Assignment) -> RecordDict:
    """What a client is sent: what it is asked to do, with what it needs of the adapter."""
    if setting.method.stacks:
        sent, merged = stack(adapter), merged_before(adapter)
    else:
        sent, merged = slice_sent(adapter, setting.measured.path.full, asked.reduction), None
    packed = pack_download(sent, setting.scenario.payload)
    return replace(asked, adapter=packed, merged=merged).to_content()


def _begun(setting: Setting, adapter: Adapter, client: int, asked: Assignment) -> tuple[Adapter, Adapter]:
    """What a client trains, before it did: as the client had it, and as the server has it."""
    scenario, full = setting.scenario, setting.measured.path.full
    if setting.method.stacks:
        held = fresh_adapter(full, asked.reduction, scenario.seed, asked.round_number, client)
        return held, held
    held = slice_adapter(adapter, full, asked.reduction, trained_only=True)
    if scenario.payload.download == "float32":
        return held, held
    return unpack_download(pack_download(held, scenario.payload)), held


def _read(
    setting: Setting, adapter: Adapter, client: int, assignment: Assignment, content: RecordDict
) -> tuple[Update, Adapter]:
    """A client's update and the matrices in it. Raises AirtuneError if it is not what was asked for."""
    scenario, full = setting.scenario, setting.measured.path.full
    shape = assignment.reduction.shape(full)
    length = scenario.task.max_tokens
    asked = Asked(
        client,
        assignment.round_number,
        assignment.steps,
        Workload(scenario.training.batch_size, length, length),
        upload_forms(shape, scenario.payload),
        withheld=scenario.privacy is not None,
    )
    update = Update.from_content(content, asked)
    received, held = _begun(setting, adapter, client, assignment)
    matrices = decode_update(update.matrices, received, held, scenario.payload)
    check_update(matrices, shape)
    return update, matrices


def _sorted(by_client: Mapping[int, Value]) -> dict[int, Value]:
    return dict(sorted(by_client.items()))
