"""The channels of one round: who is received how strongly, up and down."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.errors import InputError, words
from airtune.radio.path_loss import urban_macro_db
from airtune.radio.rate import snr_for_rate
from airtune.randomness import generator
from airtune.scenario import Client, Scenario


@dataclass(frozen=True)
class Channels:
    """Received power over noise density, P·h/N0 in Hz, each (K,), in the order of `Scenario.members()`."""

    uplink_snr_hz: npt.NDArray[np.float64]
    downlink_snr_hz: npt.NDArray[np.float64]


def draw_channels(scenario: Scenario, round_number: int | None) -> Channels:
    """The channels of round `round_number`, or without fading where it is None.

    Path loss and shadowing persist over the run. With `radio.fading` "per-round" each round multiplies
    both directions by independent |h|² ~ Exp(1) (they use different frequencies); "ergodic" leaves the
    fading to the ergodic rate and "none" has none.

    Raises:
        InputError: a distance or link so extreme that the received power is not a finite number above 0.
    """
    clients = scenario.members()
    uplink = np.array([_uplink_snr_hz(scenario, client) for client in clients])
    downlink = uplink * _power_ratio(scenario.radio.station_power - scenario.radio.client_power)
    if scenario.radio.fading == "per-round" and round_number is not None:
        gains = np.array([_fading(scenario.seed, round_number, client.id) for client in clients])
        uplink, downlink = uplink * gains[:, 0], downlink * gains[:, 1]
    for client, up, down in zip(clients, uplink, downlink, strict=True):
        if not (0 < up < np.inf and 0 < down < np.inf):
            field = f"clients.{client.group}.{'link' if client.distance is None else 'distance'}"
            found = client.link if client.distance is None else client.distance
            raise InputError(scenario.name, field, found, "a link with a finite received power above 0")
    return Channels(uplink, downlink)


def _uplink_snr_hz(scenario: Scenario, client: Client) -> float:
    """P·h/N0 without small-scale fading, from the client's distance or from its measured bit rate."""
    radio = scenario.radio
    if client.distance is None:
        if client.link is None:
            raise InputError(scenario.name, f"clients.{client.group}", words("neither"), "distance or link")
        kind = radio.rate
        return float(snr_for_rate(client.link, scenario.cells[client.cell].bandwidth, kind))
    shadowing = radio.shadowing * generator(scenario.seed, "shadowing", client.id).standard_normal()
    loss = float(urban_macro_db(client.distance)) + shadowing
    return _power_ratio(radio.client_power - loss - radio.noise)


def _fading(seed: int, round_number: int, client_id: str) -> npt.NDArray[np.float64]:
    return generator(seed, "fading", round_number, client_id).exponential(size=2)


def _power_ratio(decibel: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.power(10.0, decibel / 10.0))
