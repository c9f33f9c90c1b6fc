"""Methods, one file each: a planning rule, a local rule and an aggregation rule. A new one is one name
here: that of the method, and with underscores of its file.
"""

from importlib import import_module

from airtune.methods.method import Mask, Method, Situation

__all__ = ["METHODS", "Mask", "Method", "Situation"]

METHODS: dict[str, Method] = {
    name: import_module(f"airtune.methods.{name.replace('-', '_')}").METHOD
    for name in (
        "joint",
        "joint-online",
        "joint-select",
        "jcpba",
        "pruning-only",
        "bandwidth-only",
        "uniform",
        "fedit",
        "fedprox",
        "fedcs",
        "drop-slowest",
        "random-selection",
        "heterofl",
        "fedrolex",
        "hetlora",
        "flexlora",
        "flora",
        "fedbuff",
    )
}
