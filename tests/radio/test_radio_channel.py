"""Channels of a scenario: what persists, what fades, and what a measured link means."""

import numpy as np
import pytest

from airtune.errors import InputError
from airtune.radio import ergodic_rate, shannon_rate
from airtune.radio.channel import draw_channels
from airtune.scenario import Scenario
from airtune.scenario_file import parse_scenario


def scenario(
    fading: str = "per-round", placed: str = "distance: 300 m", count: int = 3, seed: int = 0
) -> Scenario:
    return parse_scenario(f"""
seed: {seed}
radio: {{fading: {fading}}}
cells: [{{id: a, bandwidth: 10 MHz}}]
clients: [{{id: phone, count: {count}, device: jetson-nano, cell: a, {placed}}}]
""")


def test_received_power_follows_distance_and_shadowing() -> None:
    found = draw_channels(scenario("none", count=4000), None).uplink_snr_hz
    in_db = 10 * np.log10(found)
    loss = 128.1 + 37.6 * np.log10(0.3)
    assert in_db.mean() == pytest.approx(23 - loss + 174, abs=0.5)
    assert in_db.std() == pytest.approx(8, abs=0.4)


def test_downlink_differs_by_the_transmit_power() -> None:
    channels = draw_channels(scenario("none"), 1)
    assert channels.downlink_snr_hz / channels.uplink_snr_hz == pytest.approx(np.full(3, 100.0))


@pytest.mark.parametrize(("fading", "rate"), [("none", shannon_rate), ("ergodic", ergodic_rate)])
def test_a_measured_link_is_the_rate_over_the_whole_cell(fading: str, rate: object) -> None:
    channels = draw_channels(scenario(fading, "link: 31 Mbit/s"), 5)
    assert rate(10e6, channels.uplink_snr_hz) == pytest.approx(np.full(3, 31e6))


def test_fading_has_mean_one_and_differs_by_round_client_and_direction() -> None:
    place = scenario(count=40)
    mean = draw_channels(place, None)
    up, down = [], []
    for number in range(60):
        channels = draw_channels(place, number)
        up.append(channels.uplink_snr_hz / mean.uplink_snr_hz)
        down.append(channels.downlink_snr_hz / mean.downlink_snr_hz)
    gains = np.array([up, down])
    assert gains.mean() == pytest.approx(1, abs=0.05)
    assert gains.std() == pytest.approx(1, abs=0.08)
    assert len(np.unique(gains)) == gains.size
    assert abs(np.corrcoef(np.ravel(up), np.ravel(down))[0, 1]) < 0.06


def test_the_same_seed_and_round_give_the_same_channels() -> None:
    first, again = draw_channels(scenario(), 7), draw_channels(scenario(), 7)
    np.testing.assert_array_equal(first.uplink_snr_hz, again.uplink_snr_hz)
    assert (first.uplink_snr_hz != draw_channels(scenario(seed=1), 7).uplink_snr_hz).all()


def test_shadowing_persists_over_rounds() -> None:
    place = scenario("none")
    first, second = draw_channels(place, 1), draw_channels(place, 2)
    np.testing.assert_array_equal(first.uplink_snr_hz, second.uplink_snr_hz)


@pytest.mark.parametrize("placed", ["link: 100000 Gbit/s", "distance: 1e200 m", "distance: 1e-200 m"])
def test_impossible_links_are_refused(placed: str) -> None:
    with pytest.raises(InputError, match="phone"):
        draw_channels(scenario("none", placed), None)
