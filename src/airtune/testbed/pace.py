"""How much of a core each client's device is, and how much slower than meant the whole testbed runs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.errors import AirtuneError

Floats = npt.NDArray[np.float64]

MOST_OF_A_CORE = 0.85  # a client computes on one thread, and its processor time has to be there when due
FOR_OTHERS = 0.15  # of every core: for the server, the nodes, and what else the machine does


@dataclass(frozen=True)
class Pace:
    """The testbed's time scale, the same for devices and links.

    Attributes:
        factor: seconds on the wall for one simulated second, at least 1.
        cores: (clients,) processor seconds a second for each.
    """

    factor: float
    cores: Floats


def choose_pace(device_flops_per_s: Floats, core_flops_per_s: float, cores: float) -> Pace:
    """The fastest pace at which this machine can be all devices at once.

    Args:
        device_flops_per_s: (clients,) of the scenario's devices.
        core_flops_per_s: in training, of one thread of this machine, a processor second.
        cores: of this machine.

    Raises:
        AirtuneError: quotas would be too small for the kernel.
    """
    wanted = device_flops_per_s / core_flops_per_s
    factor = max(1.0, wanted.max() / MOST_OF_A_CORE, wanted.sum() / (cores * (1 - FOR_OTHERS)))
    shares = wanted / factor
    if shares.min() < 0.01:
        raise AirtuneError(
            f"testbed: found a device that would be {shares.min():.2%} of a core beside the fastest, "
            f"expected at least 1 %"
        )
    return Pace(float(factor), shares)
