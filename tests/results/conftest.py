"""A made-up run of two groups of clients, one client left out of every third round, and one of `fedbuff`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airtune import load_scenario, run
from airtune.results.events import summarise

Events = list[dict[str, Any]]


def _client_round(client: str, round_number: int) -> dict[str, Any]:
    return {
        "id": client,
        "prune": 0.25,
        "bandwidth_hz": 1.5e6,
        "download_s": 0.5,
        "compute_s": 4.0,
        "upload_s": 3.0,
        "waiting_s": 0.5,
        "bytes_up": 1000,
        "bytes_down": 3000,
        "flops": 2e12,
        "loss": 1.5 / round_number,
        "trained_layers": 10,
    }


def _round(clients: list[str], number: int) -> dict[str, Any]:
    present = [client for client in clients if client != clients[0] or number % 3 or len(clients) == 1]
    return {
        "event": "round",
        "round": number,
        "round_s": 8.0,
        "clock_s": 8.0 * number,
        "planned_s": 7.5,
        "fedit_s": 20.0,
        "bytes_up": 1000 * len(present),
        "bytes_down": 3000 * len(present),
        "flops": 2e12 * len(present),
        "loss": 1.6 / (1 + number),
        "elapsed_s": 10.0 * number,
        "clients": [_client_round(client, number) for client in present],
    }


@pytest.fixture(scope="session")
def faulty(make_events: Callable[..., Events]) -> Events:
    """Three rounds; in the second an upload of phone-1 is lost, and jetson is out."""
    events = make_events(rounds=3, ended=False)
    spent = {"bytes_up": 1000, "bytes_down": 3000, "flops": 2e12, "compute_j": 40.0, "transmit_j": 0.6}
    nothing = dict.fromkeys(spent, 0)
    events[0]["faults"] = True
    events[2]["clients"] = [row for row in events[2]["clients"] if row["id"] == "phone-0"]
    events[2]["lost"] = [
        {"id": "phone-1", "why": "upload", **spent},
        {"id": "jetson", "why": "outage", **nothing},
    ]
    return [*events, {"event": "end", **summarise(events)}]


@pytest.fixture(scope="session")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose rounds do not wait for the slow clients."""
    tiny = load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")
    scenario = tiny.model_copy(update={"method": "fedbuff", "rounds": 6})
    return run(scenario, tmp_path_factory.mktemp("buffered") / "run")


@pytest.fixture(scope="session")
def make_events() -> Callable[..., Events]:
    """`make_events(clients, rounds, ended=True)` gives the events of a run."""

    def make(clients: list[str] | None = None, rounds: int = 4, ended: bool = True) -> Events:
        clients = clients if clients is not None else ["phone-0", "phone-1", "jetson"]
        start = {
            "event": "start",
            "schema": "airtune-events/1",
            "version": "0.1.0",
            "scenario": "quickstart",
            "method": "joint",
            "reduction": "mixed",
            "rounds": max(rounds, 1),
            "loss": 1.6,
            "machine": "a machine",
            "clients": [
                {
                    "id": client,
                    "group": client[:5],
                    "device": "jetson-nano",
                    "cell": "cell-0",
                    "weight": 1 / len(clients),
                }
                for client in clients
            ],
        }
        events = [start, *(_round(clients, number) for number in range(1, rounds + 1))]
        return [*events, {"event": "end", **summarise(events)}] if ended else events

    return make
