"""events.jsonl: what happened in a run, one JSON object a line, written as it happens.

A line counts once its newline is on the disk. So a process may be killed while it writes: the torn last
line is not read, and the next append removes it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from airtune.errors import InputError, words
from airtune.methods import METHODS
from airtune.misfits import first_error
from airtune.results.event_schema import EVENT, RoundEvent, SpentPrivacy, StartEvent, Summary

EVENTS_FILE = "events.jsonl"


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
        EVENT.validate_python(event)
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
