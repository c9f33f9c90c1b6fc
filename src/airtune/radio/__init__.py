"""The link between a client and its base station: path loss, fading, rate and its inverse.

The channels of a scenario are in `airtune.radio.channel`, which is not imported here: planning needs rates
alone, and reading scenarios takes longer to import than both.
"""

from airtune.radio.path_loss import urban_macro_db
from airtune.radio.rate import RATES, bandwidth_for_rate, ergodic_rate, rate, shannon_rate

__all__ = [
    "RATES",
    "bandwidth_for_rate",
    "ergodic_rate",
    "rate",
    "shannon_rate",
    "urban_macro_db",
]
