"""The link between a client and its base station: path loss, fading, rate and its inverse."""

from airtune.radio.channel import Channels, draw_channels
from airtune.radio.path_loss import urban_macro_db
from airtune.radio.rate import RATES, bandwidth_for_rate, ergodic_rate, rate, shannon_rate

__all__ = [
    "RATES",
    "Channels",
    "bandwidth_for_rate",
    "draw_channels",
    "ergodic_rate",
    "rate",
    "shannon_rate",
    "urban_macro_db",
]
