"""Time, memory and quality of the planners on typical cells of 100 clients: one JSON object a line.

Each line is the median over `--seeds` problems; every problem is solved in a process of its own, whose
peak memory is reported with everything it imports. IPOPT (through casadi) and SLSQP (SciPy) solve the same
joint problem as one smooth program and are started from equal bandwidth.

    python benchmarks/planner.py --clients 10 100 1000
"""

import argparse
import json
import math
import multiprocessing
import resource
import time
from statistics import median

import numpy as np

from airtune.planning import ErrorPower, Plan, Problem, Rounds, evaluate, plan

LARGEST = {"joint": 1_000_000, "jcpba": 100_000, "ipopt": 1000, "slsqp": 30}

OTHERS = ("ipopt", "slsqp")


def typical_problem(clients: int, seed: int, shadowing_db: float = 8.0) -> Problem:
    """Cells of 20 MHz with up to 100 clients at 50 to 500 m, seconds of computing, megabits to send.

    Of thousands of cells one has a client in so deep a shadow that nearly all others finish long before it,
    full. Without shadowing every cell has to be planned.
    """
    rng = np.random.default_rng(seed)
    cells = math.ceil(clients / 100)
    loss_db = 128.1 + 37.6 * np.log10(rng.uniform(0.05, 0.5, clients))
    loss_db += shadowing_db * rng.standard_normal(clients)
    bits = np.full(clients, rng.choice([4e6, 1.6e7, 4e7]))
    return Problem(
        ids=tuple(f"c{k}" for k in range(clients)),
        cell_ids=tuple(f"cell-{k}" for k in range(cells)),
        cell=np.arange(clients) % cells,
        bandwidth_hz=np.full(cells, 2e7),
        weight=rng.dirichlet(np.full(clients, 2.0)),
        snr_hz=10 ** ((23 - loss_db + 174) / 10),
        fixed_s=rng.uniform(0.5, 2, clients),
        compute_s=rng.uniform(1, 20, clients),
        fixed_bits=0.5 * bits,
        payload_bits=0.5 * bits,
        prune_min=np.zeros(clients),
        prune_max=np.full(clients, 0.9),
        rounds=Rounds(20.0, 0.8, ErrorPower(2.0)),
    )


def ipopt(problem: Problem) -> Plan:
    """The joint problem over keep rates, logarithms of bandwidth shares, T, and the factor N loses by."""
    import casadi as ca

    count = len(problem.ids)
    start = plan(problem, "pruning-only")
    keep, share, time_s, left = (
        ca.SX.sym(*each) for each in (("x", count), ("y", count), ("t", 1), ("q", 1))
    )
    whole = problem.bandwidth_hz[problem.cell]
    bandwidth = whole * ca.exp(share)
    bits = problem.fixed_bits + problem.payload_bits * keep
    upload = bits * math.log(2) / (bandwidth * ca.log1p(problem.snr_hz / bandwidth))
    in_time = time_s - (problem.fixed_s + problem.compute_s * keep + upload) / start.round_s
    cells = len(problem.bandwidth_hz)
    member = ca.sparsify(ca.DM(np.equal.outer(np.arange(cells), problem.cell).astype(float)))
    reached = 1 - problem.rounds.penalty * ca.dot(ca.DM(problem.weight), (1 - keep) ** 2) - left
    program = {
        "x": ca.vertcat(keep, share, time_s, left),
        "f": ca.log(time_s) - ca.log(left),
        "g": ca.vertcat(in_time, 1 - ca.mtimes(member, ca.exp(share)), reached),
    }
    quiet = {"print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes"}
    solution = ca.nlpsol("ipopt", "ipopt", program, quiet)(
        x0=np.concatenate([1 - start.prune, np.log(start.bandwidth_hz / whole), [1, 0.5]]),
        lbx=np.concatenate([1 - problem.prune_max, np.full(count, -40.0), [1e-9, 1e-9]]),
        ubx=np.concatenate([1 - problem.prune_min, np.zeros(count), [1e9, 1]]),
        lbg=0,
    )["x"]
    values = np.array(solution).ravel()
    prune = np.clip(1 - values[:count], problem.prune_min, problem.prune_max)
    hertz = whole * np.exp(values[count : 2 * count])
    used = np.bincount(problem.cell, weights=hertz, minlength=cells) / problem.bandwidth_hz
    return evaluate(problem, "ipopt", prune, hertz / np.maximum(used, 1)[problem.cell])


def slsqp(problem: Problem) -> Plan:
    """The joint problem over keep rates, logarithms of bandwidth shares, and T in units of the start's."""
    from scipy.optimize import minimize

    count, cells = len(problem.ids), problem.cell
    start = plan(problem, "pruning-only")
    whole, penalty = problem.bandwidth_hz[cells], problem.rounds.penalty
    member = np.equal.outer(np.arange(len(problem.bandwidth_hz)), cells).astype(float)

    def objective(values: np.ndarray) -> float:
        left = 1 - penalty * problem.weight @ (1 - values[:count]) ** 2
        return math.log(values[-1]) - math.log(max(left, 1e-9))

    def objective_slope(values: np.ndarray) -> np.ndarray:
        prune = 1 - values[:count]
        left = max(1 - penalty * problem.weight @ prune**2, 1e-9)
        by_keep = -2 * penalty * problem.weight * prune / left
        return np.concatenate([by_keep, np.zeros(count), [1 / values[-1]]])

    def spare(values: np.ndarray) -> np.ndarray:
        keep, hertz = values[:count], whole * np.exp(values[count:-1])
        bits = problem.fixed_bits + problem.payload_bits * keep
        upload = bits * math.log(2) / (hertz * np.log1p(problem.snr_hz / hertz))
        time_s = problem.fixed_s + problem.compute_s * keep + upload
        return np.concatenate([values[-1] - time_s / start.round_s, 1 - member @ (hertz / whole)])

    def spare_slope(values: np.ndarray) -> np.ndarray:
        keep, hertz = values[:count], whole * np.exp(values[count:-1])
        logs, snr = np.log1p(problem.snr_hz / hertz), problem.snr_hz / hertz
        rates = hertz * logs / math.log(2)
        upload = (problem.fixed_bits + problem.payload_bits * keep) / rates
        by_keep = (problem.compute_s + problem.payload_bits / rates) / start.round_s
        by_share = upload * (1 - snr / (1 + snr) / logs) / start.round_s
        own = np.hstack([-np.diag(by_keep), np.diag(by_share), np.ones((count, 1))])
        shared = np.hstack([np.zeros_like(member), -member * (hertz / whole), np.zeros((len(member), 1))])
        return np.vstack([own, shared])

    solution = minimize(
        objective,
        np.concatenate([1 - start.prune, np.log(start.bandwidth_hz / whole), [1.0]]),
        jac=objective_slope,
        bounds=[
            *zip(1 - problem.prune_max, 1 - problem.prune_min, strict=True),
            *[(-40, 0)] * count,
            (1e-9, 1e9),
        ],
        constraints={"type": "ineq", "fun": spare, "jac": spare_slope},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    prune = np.clip(1 - solution.x[:count], problem.prune_min, problem.prune_max)
    hertz = whole * np.exp(solution.x[count:-1])
    used = np.bincount(cells, weights=hertz, minlength=len(member)) / problem.bandwidth_hz
    return evaluate(problem, "slsqp", prune, hertz / np.maximum(used, 1)[cells])


def measure(
    clients: int, solver: str, seed: int, shadowing_db: float
) -> tuple[float, float, float, float | None]:
    """Seconds (the best of three for small problems), peak MB, N·T, relative gap."""
    problem = typical_problem(clients, seed, shadowing_db)
    seconds = []
    for _ in range(3 if clients <= 1000 else 1):
        begin = time.perf_counter()
        found = (
            {"ipopt": ipopt, "slsqp": slsqp}[solver](problem) if solver in OTHERS else plan(problem, solver)
        )
        seconds.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return min(seconds), peak, found.total_s, found.relative_gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 30, 100, 1000, 100_000, 1_000_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shadowing-db", type=float, default=8.0)
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for clients in options.clients:
            for solver in (name for name, largest in LARGEST.items() if clients <= largest):
                tasks = [(clients, solver, seed, options.shadowing_db) for seed in range(options.seeds)]
                seconds, peaks, totals, gaps = zip(*pool.starmap(measure, tasks, chunksize=1), strict=True)
                line = {
                    "clients": clients,
                    "cells": math.ceil(clients / 100),
                    "shadowing_db": options.shadowing_db,
                    "solver": solver,
                    "seconds": round(median(seconds), 5),
                    "peak_mb": round(median(peaks)),
                    "total_s": median(totals),
                    "relative_gap": None if None in gaps else median(gaps),
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
