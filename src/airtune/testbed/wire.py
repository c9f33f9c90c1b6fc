"""What passes over the clients' links, and when: the kernel's counters of their devices, read often."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from airtune.testbed.network import server_device

EVERY_S = 0.05
EDGE = (
    0.01  # of the bytes, at either end: questions whether there is something come before and after a transfer
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Transfer:
    """What passed over a link from one moment of the monotonic clock to another, all headers included."""

    begin: float
    end: float
    bytes: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def transfer(times: Floats, totals: Floats, begin: float, end: float) -> Transfer:
    """What passed between `begin` and `end`, and how long it took from its first byte to its last.

    That is the time in which all but the first and last `EDGE` of the bytes passed, stretched to all of them.
    So pauses within it count, and Flower's questions before and after it do not.

    Args:
        times: (n,) of the readings, ascending.
        totals: (n,) bytes until then.
    """
    first, last = np.interp([begin, end], times, totals)
    if last <= first:
        return Transfer(end, end, 0.0)
    inside = (times > begin) & (times < end)
    at = np.concatenate([[begin], times[inside], [end]])
    share = (np.concatenate([[first], totals[inside], [last]]) - first) / (last - first)
    starts, stops = _when(at, share, EDGE), _when(at, share, 1 - EDGE)
    edge_s = (stops - starts) * EDGE / (1 - 2 * EDGE)
    return Transfer(starts - edge_s, stops + edge_s, float(last - first))


def _when(at: Floats, share: Floats, wanted: float) -> float:
    """When a share was reached first: totals stand still before and after."""
    after = int(np.searchsorted(share, wanted))
    return float(np.interp(wanted, share[after - 1 : after + 1], at[after - 1 : after + 1]))


class Wire:
    """Reads the counters of all links, from `start` until `stop`."""

    def __init__(self, clients: int) -> None:
        self._devices = [server_device(client) for client in range(clients)]
        self._readings: list[tuple[float, list[tuple[int, int]]]] = []
        self._over = threading.Event()

    def start(self) -> None:
        """Forget what was read, and begin."""
        self._over = threading.Event()
        self._readings = [self._read()]
        self._reader = threading.Thread(
            target=self._keep_reading, args=(self._over, self._readings), daemon=True
        )
        self._reader.start()

    def stop(self) -> None:
        """Read a last time."""
        self._over.set()
        self._reader.join()
        self._readings.append(self._read())

    def down(self, client: int, begin: float, end: float) -> Transfer:
        """A client's download between two moments of the monotonic clock."""
        return self._transfer(client, 0, begin, end)

    def up(self, client: int, begin: float, end: float) -> Transfer:
        """Its upload."""
        return self._transfer(client, 1, begin, end)

    def _transfer(self, client: int, direction: int, begin: float, end: float) -> Transfer:
        readings = list(self._readings)
        times = np.array([at for at, _ in readings])
        totals = np.array([float(counts[client][direction]) for _, counts in readings])
        return transfer(times, totals, begin, end)

    def _keep_reading(
        self, over: threading.Event, readings: list[tuple[float, list[tuple[int, int]]]]
    ) -> None:
        while not over.wait(EVERY_S):
            readings.append(self._read())

    def _read(self) -> tuple[float, list[tuple[int, int]]]:
        """(when, (sent to, received from) every client in bytes)."""
        found = {}
        at = time.monotonic()
        for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]:
            device, _, counts = line.partition(":")
            numbers = counts.split()
            found[device.strip()] = (int(numbers[8]), int(numbers[0]))
        return at, [found.get(device, (0, 0)) for device in self._devices]
