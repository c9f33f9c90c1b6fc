"""events.jsonl: what happened in a run, one JSON object a line, written as it happens.

A line counts once its newline is on the disk. So a process may be killed while it writes: the torn last
line is not read, and the next append removes it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, cast

from pydantic import Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from airtune.errors import InputError, words
from airtune.methods import METHODS
from airtune.misfits import first_error

EVENTS_FILE = "events.jsonl"
SCHEMA = "airtune-events/1"

Amount = Annotated[float, Field(ge=0, le=1e30)]
Share = Annotated[float, Field(ge=0, le=1)]
Round = Annotated[int, Field(ge=1, le=10**9)]

# New fields may come with later versions; those known here must be right.
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


_EVENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[StartEvent | RoundEvent | ResumeEvent | EndEvent, Field(discriminator="event")]
)


def append_events(path: str | Path, events: Iterable[Mapping[str, object]]) -> None:
    """Append `events` as whole lines; when this returns they are on the disk.

    Raises:
        InputError: the file cannot be written.
        ValueError: a number is NaN or infinite; nothing is written then.
    """
    lines = "".join(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n" for event in events)
    try:
        with open(path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            torn = file.read().rpartition(b"\n")[2]
            file.truncate(size - len(torn))
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(path, "", words(error.strerror or "no access"), "a file to append to") from error


def read_events(path: str | Path) -> list[dict[str, Any]]:
    """The events of a file in the order written; a torn last line is left out.

    Raises:
        InputError: the file cannot be read, or a line is broken: names the line and the field.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise InputError(path, "", words(error.strerror or "no access"), "a readable events file") from error
    events = [_parse(path, number, line) for number, line in enumerate(lines, start=1)]
    _check_order(path, events)
    return events


def start_event(events: Sequence[Mapping[str, Any]]) -> StartEvent:
    """The start event; an InputError if there is none."""
    for event in events:
        if event["event"] == "start":
            return cast(StartEvent, event)
    raise InputError(EVENTS_FILE, "", words("no start event"), "the events of a run that has started")


def waits_for_all(start: StartEvent, rounds: Sequence[RoundEvent] = ()) -> bool:
    """Whether a run's rounds have everybody's update, as those have that `fedit_s` counts the seconds of.

    Args:
        rounds: those played so far, in which clients may have failed.
    """
    method = METHODS.get(start["method"])
    meant = (method is None or method.buffer is None) and not start.get("faults", False)
    return meant and not any(event.get("lost") for event in rounds)


def round_events(events: Sequence[Mapping[str, Any]]) -> list[RoundEvent]:
    """The round events by round; of a round that was repeated after a resume, the last."""
    last = {event["round"]: event for event in events if event["event"] == "round"}
    return [cast(RoundEvent, last[number]) for number in sorted(last)]


def summarise(events: Sequence[Mapping[str, Any]]) -> Summary:
    """The summary of a run, finished or not, from its start, round and resume events."""
    start, rounds = start_event(events), round_events(events)
    summary: Summary = {
        "loss_before": start["loss"],
        "loss_after": rounds[-1]["loss"] if rounds else start["loss"],
        "simulated_s": sum(event["round_s"] for event in rounds),
        "fedit_s": sum(event["fedit_s"] for event in rounds),
        "elapsed_s": _elapsed(events),
        "bytes_up": sum(event["bytes_up"] for event in rounds),
        "bytes_down": sum(event["bytes_down"] for event in rounds),
        "flops": sum(event["flops"] for event in rounds),
        "rounds": len(rounds),
        "lost_updates": sum(len(event.get("lost", [])) for event in rounds),
        "method": start["method"],
    }
    if all("energy_j" in event for event in rounds):
        summary["energy_j"] = sum(event["energy_j"] for event in rounds)
    if rounds and "privacy" in rounds[-1]:
        summary["epsilon"] = max(rounds[-1]["privacy"]["epsilon"])
    return summary


def _elapsed(events: Sequence[Mapping[str, Any]]) -> float:
    """Real seconds of all processes together: `elapsed_s` begins again at 0 with every resume."""
    total = process = 0.0
    for event in events:
        if event["event"] == "resume":
            total, process = total + process, 0.0
        elif event["event"] == "round":
            process = event["elapsed_s"]
    return total + process


def _parse(path: str | Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"line {number}", line.decode(errors="replace"), "a JSON object") from error
    try:
        _EVENT.validate_python(event)
    except ValidationError as error:
        misfit = first_error(path, error)
        field = misfit.field.partition(".")[2]  # the first word is the kind of event, which is no field
        place = f"line {number}: {field}".rstrip(": ")
        raise InputError(path, place, misfit.found, misfit.expected) from error
    return event


def _check_order(path: str | Path, events: list[dict[str, Any]]) -> None:
    """One start event, at the top, that names every client of the rounds."""
    known: set[str] = set()
    for number, event in enumerate(events, start=1):
        if (event["event"] == "start") != (number == 1):
            raise InputError(path, f"line {number}: event", event["event"], "start on line 1 and only there")
        if event["event"] == "start":
            known = {client["id"] for client in event["clients"]}
        if event["event"] == "round" and "privacy" in event:
            _check_privacy(path, number, event["privacy"], events[0])
        ids = [client["id"] for part in ("clients", "lost") for client in event.get(part, [])]
        ids += [flight["row"]["id"] for flight in event.get("flights", [])]
        wrong = [client for client in ids if client not in known or ids.count(client) > 1]
        if wrong:
            raise InputError(
                path, f"line {number}: clients", wrong[0], "clients of the start event, each once"
            )


def _check_privacy(path: str | Path, number: int, spent: SpentPrivacy, start: dict[str, Any]) -> None:
    """A round spends privacy of all clients, and only where the start event has terms."""
    if "privacy" not in start:
        raise InputError(path, f"line {number}: privacy", words("a mapping"), "none, as the start has none")
    for field, values in (("answers", spent["answers"]), ("epsilon", spent["epsilon"])):
        if len(values) != len(start["clients"]):
            found = words(f"{len(values)} numbers")
            raise InputError(path, f"line {number}: privacy.{field}", found, "one for each client")
