"""Methods, one file each: a planning rule, a local rule and an aggregation rule. A new one is one entry
here.
"""

from airtune.methods import (
    bandwidth_only,
    drop_slowest,
    fedbuff,
    fedcs,
    fedit,
    fedprox,
    fedrolex,
    flexlora,
    heterofl,
    hetlora,
    jcpba,
    joint,
    joint_online,
    joint_select,
    pruning_only,
    random_selection,
    uniform,
)
from airtune.methods.method import Mask, Method, Situation

__all__ = ["METHODS", "Mask", "Method", "Situation"]

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (
        joint,
        joint_online,
        joint_select,
        jcpba,
        pruning_only,
        bandwidth_only,
        uniform,
        fedit,
        fedprox,
        fedcs,
        drop_slowest,
        random_selection,
        heterofl,
        fedrolex,
        hetlora,
        flexlora,
        fedbuff,
    )
}
