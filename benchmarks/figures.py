"""The two figures of docs/planner.md, as SVG, from nothing but the formulas on that page.

python benchmarks/figures.py docs
"""

import argparse
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from planner import typical_problem

from airtune.planning import Problem, plan
from airtune.radio import bandwidth_for_rate, rate

Array = npt.NDArray[np.float64]
BLUE, ORANGE, BLACK, GREY = "#1f5fa8", "#b4531a", "#1c2024", "#5b6470"


class Figure:
    """Lines and points over two labelled axes."""

    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 340, 60, 16, 40, 46

    def __init__(
        self, title: str, x: tuple[str, float, float, float], y: tuple[str, float, float, float]
    ) -> None:
        """Axes are (label, from, to, step between ticks)."""
        self.x, self.y = x, y
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.WIDTH} {self.HEIGHT}" role="img" '
            f'font-family="sans-serif" font-size="13"><title>{escape(title)}</title>',
            f'<rect width="{self.WIDTH}" height="{self.HEIGHT}" fill="#fff"/>',
        ]
        right, bottom = self.WIDTH - self.RIGHT, self.HEIGHT - self.BOTTOM
        for value in np.arange(x[1], x[2] + 1e-9, x[3]):
            across, _ = self._place(value, y[1])
            self._text(across, bottom + 18, f"{value:g}", GREY, "middle")
        for value in np.arange(y[1], y[2] + 1e-9, y[3]):
            _, down = self._place(x[1], value)
            self.parts.append(f'<path d="M{self.LEFT} {down:.1f}H{right}" stroke="#e8ebee"/>')
            self._text(self.LEFT - 8, down + 4, f"{value:g}", GREY, "end")
        self._text((self.LEFT + right) / 2, self.HEIGHT - 8, x[0], GREY, "middle")
        self._text(self.LEFT - 44, 18, y[0], GREY)

    def line(self, x: Array, y: Array, colour: str, width: float = 2, dash: str = "none") -> None:
        inside = (self.y[1] <= y) & (y <= self.y[2])
        points = [self._place(*point) for point in zip(x[inside], y[inside], strict=True)]
        drawn = "L".join(f"{across:.1f} {down:.1f}" for across, down in points)
        style = f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"'
        self.parts.append(f'<path d="M{drawn}" {style}/>')

    def point(self, x: float, y: float, text: str, offset: tuple[float, float]) -> None:
        across, down = self._place(x, y)
        self.parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{BLACK}"/>')
        self._text(across + offset[0], down + offset[1], text, BLACK)

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        across = 130.0
        for text, colour in entries:
            self.parts.append(f'<path d="M{across} 14h18" stroke="{colour}" stroke-width="3"/>')
            self._text(across + 24, 18, text, BLACK)
            across += 52 + 6.6 * len(text)

    def write(self, file: Path) -> None:
        file.write_text("\n".join([*self.parts, "</svg>\n"]), encoding="utf-8")

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[1]) / (self.x[2] - self.x[1])
        up = (y - self.y[1]) / (self.y[2] - self.y[1])
        wide, high = self.WIDTH - self.LEFT - self.RIGHT, self.HEIGHT - self.TOP - self.BOTTOM
        return self.LEFT + across * wide, self.HEIGHT - self.BOTTOM - up * high

    def _text(self, x: float, y: float, text: str, colour: str, anchor: str = "start") -> None:
        placed = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
        self.parts.append(f"<text {placed}>{escape(text)}</text>")


class Dual:
    """The least error of one cell's clients by a deadline, every keep rate one of a fine grid."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        share = np.linspace(0, 1, 1001)[:, None]
        self.keep = (1 - problem.prune_max) + share * (problem.prune_max - problem.prune_min)
        self.error = problem.weight * problem.rounds.error(1 - self.keep)
        self.bits = problem.fixed_bits + problem.payload_bits * self.keep

    def value(self, deadline: float, price: float) -> float:
        """A lower bound on V(deadline): the clients' least w·e + price·b, less the price of the cell."""
        upload_s = deadline - self.problem.fixed_s - self.problem.compute_s * self.keep
        wanted = np.where(upload_s > 0, self.bits / np.maximum(upload_s, 1e-12), np.inf)
        bandwidth = bandwidth_for_rate(wanted, self.problem.snr_hz, self.problem.rate)
        least = (self.error + price * bandwidth).min(0).sum()
        return float(least - price * self.problem.bandwidth_hz[0])

    def best(self, deadline: float) -> tuple[float, float]:
        """V(deadline) and its price: the dual is concave, so thirds of an interval are cut off in turn."""
        low, high = -25.0, -10.0  # logarithm of the price, per Hz
        while high - low > 1e-4:
            left, right = low + (high - low) / 3, high - (high - low) / 3
            if self.value(deadline, np.exp(left)) < self.value(deadline, np.exp(right)):
                low = left
            else:
                high = right
        return self.value(deadline, np.exp(low)), float(np.exp(low))


def bounds_figure(file: Path) -> None:
    """J(T) of a cell of ten clients, and two lower bounds of it on three intervals."""
    problem = typical_problem(10, 3)
    chosen, dual, count = plan(problem), Dual(problem), problem.rounds.count
    times = np.append(np.linspace(3.76, 4.0, 13), np.linspace(4.05, 7.0, 60))
    totals = np.array([time * count(dual.best(time)[0]) for time in times])
    figure = Figure("J(T) and its lower bounds", ("deadline T, s", 3.5, 7, 0.5), ("N·T, s", 120, 190, 10))
    for start, end in pairwise((3.76, 4.5, 5.5, 7.0)):
        inside = np.linspace(start, end, 41)
        plain = start * count(dual.best(end)[0])
        _, price = dual.best((start + end) / 2)
        held = np.array([time * count(dual.value(time, price)) for time in inside])
        figure.line(np.array([start, end]), np.array([plain, plain]), ORANGE)
        figure.line(inside, held, BLUE)
    figure.line(times, totals, BLACK)
    figure.point(chosen.round_s, chosen.total_s, f"{chosen.total_s:.1f} s", (-20, -10))
    entries = [("J(T)", BLACK), ("T₁·N(V(T₂))", ORANGE), ("one price for the whole interval", BLUE)]
    figure.legend(entries)
    figure.write(file)


def stall_figure(file: Path, problem: Problem) -> None:
    """N·T over the bandwidth of the first of two clients: pruning held, and pruning as good as can be."""
    stalled, joint = plan(problem, "jcpba"), plan(problem)
    near = np.linspace(0.4e6, 8e6, 381)
    bandwidth = np.column_stack([near, problem.bandwidth_hz[0] - near])
    rates = rate(bandwidth, problem.snr_hz, problem.rate)
    full = problem.fixed_s + problem.compute_s + (problem.fixed_bits + problem.payload_bits) / rates
    held = (full * (1 - stalled.prune)).max(1) * stalled.rounds
    s, s2 = (1 / full) @ problem.weight, (1 / full**2) @ problem.weight
    best = problem.rounds.base * 0.75 / (2 * s - np.sqrt(s2))
    figure = Figure(
        "Where block coordinate descent stalls", ("bandwidth of near, MHz", 0, 8, 1), ("N·T, s", 50, 80, 5)
    )
    figure.line(near / 1e6, held, ORANGE)
    figure.line(near / 1e6, best, BLUE)
    figure.point(5.0, stalled.total_s, f"jcpba, {stalled.total_s:.1f} s", (8, 16))
    figure.point(joint.bandwidth_hz[0] / 1e6, joint.total_s, f"joint, {joint.total_s:.1f} s", (-30, 22))
    figure.legend([("pruning rates held at ½", ORANGE), ("pruning rates best for the bandwidth", BLUE)])
    figure.write(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("docs", type=Path, help="folder with stall.json, where the figures go")
    folder = parser.parse_args().docs
    bounds_figure(folder / "planner-bounds.svg")
    stall_figure(folder / "planner-stall.svg", Problem.load(folder / "stall.json"))


if __name__ == "__main__":
    main()
