"""The events of a run, field by field: what each line of events.jsonl has to be.

New fields may come with later versions; those known here must be right.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

SCHEMA = "airtune-events/1"

Amount = Annotated[float, Field(ge=0, le=1e30)]
Share = Annotated[float, Field(ge=0, le=1)]
Round = Annotated[int, Field(ge=1, le=10**9)]

_checked = with_config(strict=True, extra="allow")


@_checked
class ReportedFigures(TypedDict):
    """What a client's node reported of its `device`: FLOP/s in training, bytes, W while it computes, and the
    seconds that a round takes it beside downloading, computing and uploading.
    """

    throughput: Amount
    memory: Amount
    power: NotRequired[Amount]
    overhead: NotRequired[Amount]


@_checked
class Member(TypedDict):
    """One client of the run.

    The run plans with what the client's node `reported` of its device. What is wrong with a report that was
    not believed is in `refused`: the scenario's device holds. `overhead_s` is what the run plans with and its
    clock counts, whoever said so; events written before there was any have none.
    """

    id: str
    group: str
    device: str
    cell: str
    weight: Share
    overhead_s: NotRequired[Amount]
    reported: NotRequired[ReportedFigures]
    refused: NotRequired[str]


@_checked
class Terms(TypedDict):
    """Of clients' privacy: the scenario's, and the epsilon of who is asked in every round."""

    clip: Amount
    noise: Amount
    delta: Share
    most_epsilon: Amount


@_checked
class StartEvent(TypedDict):
    """The first line: what runs, and the test loss before any round."""

    event: Literal["start"]
    schema: Literal["airtune-events/1"]
    version: str
    scenario: str
    method: str
    reduction: str
    bandwidth: NotRequired[Literal["own", "optimal"]]
    rounds: Round
    faults: NotRequired[bool]
    loss: Amount
    privacy: NotRequired[Terms]
    machine: str
    clients: Annotated[list[Member], Field(min_length=1)]


@_checked
class ClientRound(TypedDict):
    """One client's part in one round: simulated seconds, Hz, bytes, FLOPs, J, training loss.

    `loss` is absent where clients withhold it; FLOPs are those of typical steps then. `compute_j` is absent
    where nobody knows what the device draws. `begun_s` is where on the simulated clock its training began,
    if not with the round. `overhead_s`, between download and computing, is absent from older events.
    """

    id: str
    prune: Share
    bandwidth_hz: Amount
    download_s: Amount
    overhead_s: NotRequired[Amount]
    compute_s: Amount
    upload_s: Amount
    waiting_s: Amount
    bytes_up: Amount
    bytes_down: Amount
    flops: Amount
    loss: NotRequired[Amount]
    trained_layers: Annotated[int, Field(ge=0)]
    compute_j: NotRequired[Amount]
    transmit_j: NotRequired[Amount]
    begun_s: NotRequired[Amount]


@_checked
class Lost(TypedDict):
    """A client whose update a round was merged without, and what it took, as far as that is known.

    `federation.missing` says why. `reason` is what was wrong with a client that failed, or with its reply.
    """

    id: str
    why: Literal["outage", "upload", "late", "failure"]
    reason: NotRequired[str]
    bytes_up: Amount
    bytes_down: Amount
    flops: Amount
    compute_j: NotRequired[Amount]
    transmit_j: NotRequired[Amount]


@_checked
class LateReply(TypedDict):
    """A client's reply of an earlier round, which came too late for that round and was ignored."""

    id: str
    round: Round


@_checked
class OnItsWay(TypedDict):
    """An update that no round has merged yet (`federation.buffered`)."""

    row: ClientRound


@_checked
class KnownGradients(TypedDict):
    """What is known of the clients' gradients after a round, in the start event's order (`costs.error`)."""

    unlike: list[Amount]
    noise: list[Amount]
    apart: list[list[Amount]]


@_checked
class PlannedPace(TypedDict):
    """Progress towards the target and seconds of all rounds so far, as planned (`planning.Pace`)."""

    progress: Amount
    time_s: Amount


@_checked
class SpentPrivacy(TypedDict):
    """Answers that clients were planned to give so far, in the start event's order, and their epsilon."""

    answers: list[Annotated[int, Field(ge=0)]]
    epsilon: list[Amount]


@_checked
class RoundEvent(TypedDict):
    """One finished round. A client that was left out of it is absent from `clients`.

    So is one whose update is on its way when the round ends without waiting for it; `flights` has it. One
    whose update did not arrive is in `lost`; sums count what it took.
    `energy_j` is absent where a client's is not known. `round_s`, `clock_s`, `planned_s` and `fedit_s` are
    simulated seconds; `elapsed_s` are real seconds since the process started or resumed the run.
    """

    event: Literal["round"]
    round: Round
    round_s: Amount
    clock_s: Amount
    planned_s: Amount
    fedit_s: Amount
    bytes_up: Amount
    bytes_down: Amount
    flops: Amount
    loss: Amount
    elapsed_s: Amount
    energy_j: NotRequired[Amount]
    group_loss: NotRequired[dict[str, Amount]]
    gradients: NotRequired[KnownGradients]
    pace: NotRequired[PlannedPace]
    privacy: NotRequired[SpentPrivacy]
    clients: list[ClientRound]
    lost: NotRequired[list[Lost]]
    late: NotRequired[list[LateReply]]
    flights: NotRequired[list[OnItsWay]]


@_checked
class ResumeEvent(TypedDict):
    """A new process took the run over; rounds that it repeats replace those written before."""

    event: Literal["resume"]
    round: Round


class Summary(TypedDict):
    """A run in a few numbers, the content of summary.json. `fedit_s` is summed over the same rounds.

    `energy_j` is absent where a round's is; `epsilon`, of the client that was asked most often, where no
    noise is.
    """

    loss_before: Amount
    loss_after: Amount
    simulated_s: Amount
    fedit_s: Amount
    elapsed_s: Amount
    bytes_up: Amount
    bytes_down: Amount
    flops: Amount
    energy_j: NotRequired[Amount]
    lost_updates: NotRequired[Annotated[int, Field(ge=0)]]
    epsilon: NotRequired[Amount]
    rounds: Annotated[int, Field(ge=0)]
    method: str


@_checked
class EndEvent(Summary):
    """The last line of a finished run."""

    event: Literal["end"]


EVENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[StartEvent | RoundEvent | ResumeEvent | EndEvent, Field(discriminator="event")]
)
