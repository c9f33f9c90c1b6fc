"""The command line: parse, call, print. A user's mistake is one line on stderr and exit status 2."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from airtune.errors import AirtuneError, ArgumentError, InputError, words
from airtune.version import __version__

app = typer.Typer(
    help="Fast federated fine-tuning of large language models over wireless networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PLAN_OPTIONS = ("allow_drop", "resource_block_hz")  # that others exclude
INTERRUPTED = 130  # what shells expect after Ctrl-C

ScenarioFile = Annotated[Path, typer.Argument(help="Scenario in YAML.", show_default=False)]
ResultsFolder = Annotated[Path, typer.Argument(help="Folder of a run or comparison.", show_default=False)]
MethodName = Annotated[str | None, typer.Option(help="Replaces the scenario's method.", show_default=False)]
TaskName = Annotated[str | None, typer.Option(help="Replaces the scenario's task.", show_default=False)]
DataPlace = Annotated[
    str | None, typer.Option(help="Folder or file with the task's data.", show_default=False)
]
Engine = Literal["in-process", "flower-simulation", "flower-deployment"]
LoggerName = Annotated[
    str | None, typer.Option("--log", help="Also log to tensorboard or mlflow.", show_default=False)
]
Resumed = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
RoundCount = Annotated[int | None, typer.Option(help="Replaces the number of rounds.", show_default=False)]


BandwidthShares = Annotated[
    str | None,
    typer.Option(help="own, or optimal for the shares that end a round soonest.", show_default=False),
]


@app.command()
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("scenario.yaml")) -> None:
    """Write a commented scenario to start from."""
    from importlib.resources import files

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(files("airtune").joinpath("template.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise AirtuneError(f"{path}: {error.strerror}; airtune init writes a new file") from error
    print(f"wrote {path}; now: airtune plan {path}, airtune run {path}")


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="smollm2-135m, tiny, a folder or a hub name; or gsm_symbolic, the task."
        ),
    ],
) -> None:
    """Download a model (or a task's generator) once, so that runs start at once and offline."""
    from airtune.assets import REASONING_GYM, fetch_wheel

    if name == "gsm_symbolic":
        print(fetch_wheel(REASONING_GYM))
        return
    from airtune.learning.models import prepare

    print(prepare(name))


@app.command()
def plan(
    source: Annotated[
        Path, typer.Argument(help="Scenario (.yaml) or problem file (.json).", show_default=False)
    ],
    method: Annotated[str, typer.Option(help="Planning rule.")] = "joint",
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    allow_drop: Annotated[
        bool, typer.Option("--allow-drop", help="Also choose whom to leave out (drop_error); joint only.")
    ] = False,
    resource_block_hz: Annotated[
        float | None, typer.Option(help="Give bandwidth in whole blocks of so many Hz.", show_default=False)
    ] = None,
    error_budget: Annotated[
        float | None,
        typer.Option(help="Shortest round with Σ weight·error of at most so much.", show_default=False),
    ] = None,
) -> None:
    """Choose pruning rates and bandwidth: for a problem file, or for a scenario's first round."""
    from airtune import api
    from airtune.files import write_whole
    from airtune.planning import Problem
    from airtune.scenario_file import load_scenario

    # JSON is YAML too: only its name tells a problem file from a scenario.
    problem = Problem.load(source) if source.suffix == ".json" else load_scenario(source)
    why = None
    try:
        if method == "joint" and resource_block_hz is None and error_budget is None:
            why = api.explained(problem, allow_drop=allow_drop)
            chosen = why.plan
        else:
            chosen = api.plan(
                problem,
                method,
                allow_drop=allow_drop,
                error_budget=error_budget,
                resource_block_hz=resource_block_hz,
            )
    except ArgumentError as error:
        found = words(_option(error.found)) if error.found in _PLAN_OPTIONS else error.found
        raise InputError(_option(error.argument), "", found, error.expected) from error
    if out is not None:
        write_whole(out, chosen.to_json())
    if json:
        print(chosen.to_json(), end="")
    else:
        from airtune.results.terminal import print_plan

        print_plan(chosen, why)


@app.command()
def run(
    scenario: ScenarioFile,
    method: MethodName = None,
    task: TaskName = None,
    data: DataPlace = None,
    rounds: RoundCount = None,
    bandwidth: BandwidthShares = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/NAME-METHOD")
    ] = None,
    resume: Resumed = False,
    engine: Annotated[
        Engine, typer.Option(help="All clients in this process, or Flower's engines on this machine.")
    ] = "in-process",
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds that a round on Flower's engines waits for replies.", show_default=False),
    ] = None,
    log: LoggerName = None,
) -> None:
    """Fine-tune over simulated wireless clients, and report."""
    from airtune.files import new_folder
    from airtune.results.terminal import RunProgress, print_run
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, method=method, task=task, data=data, rounds=rounds, bandwidth=bandwidth)
    _check_resume(resume, out)
    _check_logger(log)
    directory = out or new_folder(f"{chosen.name}-{chosen.method}")
    with RunProgress(chosen) as progress:
        from airtune import api

        finished_before = (directory / "summary.json").exists() and resume
        try:
            api.run(chosen, directory, resume, progress, engine=engine, log=log, deadline=deadline)
        except ArgumentError as error:
            raise InputError(_option(error.argument), "", error.found, error.expected) from error
    if finished_before:
        print(f"{directory}: this run has already finished")
    print_run(directory)


@app.command()
def node(
    scenario: ScenarioFile,
    client: Annotated[str, typer.Option(help="Its id in the scenario.", show_default=False)],
    superlink: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to.", show_default=False)],
    root_certificates: Annotated[
        Path | None,
        typer.Option(
            help="Authorities, in PEM, of whom the SuperLink's certificate is.", show_default="the system's"
        ),
    ] = None,
    auth_supernode_private_key: Annotated[
        Path | None, typer.Option(help="Key of this node, if nodes are registered.", show_default=False)
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without encryption.")] = False,
    profile: Annotated[
        Path | None, typer.Option(help="What airtune profile measured here.", show_default=False)
    ] = None,
    noise_key: Annotated[
        Path | None, typer.Option(help="Secret of its noise, for privacy.", show_default=False)
    ] = None,
) -> None:
    """Be a client of a run on Flower: start its SuperNode, with model and data loaded where possible."""
    from airtune.federation.node import Connection, run_node
    from airtune.scenario_file import load_scenario

    connection = Connection(superlink, insecure, root_certificates, auth_supernode_private_key)
    status = run_node(load_scenario(scenario), client, connection, profile, noise_key)
    raise typer.Exit(status)


@app.command("testbed")
def on_testbed(
    scenario: ScenarioFile,
    method: MethodName = None,
    task: TaskName = None,
    data: DataPlace = None,
    rounds: RoundCount = None,
    bandwidth: BandwidthShares = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/testbed-NAME-METHOD")
    ] = None,
    resume: Resumed = False,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds that a round waits for replies.", show_default=False)
    ] = None,
) -> None:
    """Run with real clients on shaped links and CPU quotas, and measure it: Linux, as root."""
    from airtune.federation.overdue import seconds
    from airtune.files import new_folder
    from airtune.results.terminal import RunProgress, print_run
    from airtune.results.testbed_rows import print_rows
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, method=method, task=task, data=data, rounds=rounds, bandwidth=bandwidth)
    _check_resume(resume, out)
    try:
        deadline_s = None if deadline is None else seconds(deadline)
    except ValueError as error:
        raise InputError("--deadline", "", deadline, str(error)) from error
    directory = out or new_folder(f"testbed-{chosen.name}-{chosen.method}")
    with RunProgress(chosen) as progress:
        from airtune.testbed.run import run_on_testbed

        run_on_testbed(chosen, directory, progress, resume, deadline_s)
    print_run(directory)
    print_rows(directory)


@app.command()
def compare(
    scenario: ScenarioFile,
    methods: Annotated[str, typer.Option(help="Methods, with commas between.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the results.", show_default=False)],
    reductions: Annotated[
        str | None, typer.Option(help="Reductions, with commas between.", show_default="the scenario's")
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(help="own, optimal, or both with a comma between.", show_default="the scenario's"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from the scenario's on.", min=1)] = 1,
    target_loss: Annotated[str, typer.Option(help="Test loss to reach; auto: fedit's last.")] = "auto",
    budget: Annotated[
        str | None,
        typer.Option(help="After which runs end: '400 s', '500 MB' or '20 kJ'.", show_default=False),
    ] = None,
    rounds: RoundCount = None,
    task: TaskName = None,
    data: DataPlace = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once.", min=1, show_default="as cores and memory allow")
    ] = None,
    learnt: Annotated[
        Path | None,
        typer.Option(help="Folder of learnt rounds to share with other comparisons.", show_default=False),
    ] = None,
    log: LoggerName = None,
) -> None:
    """Compare methods on the same data, channels and steps; run again to go on where it stopped."""
    from airtune import api
    from airtune.results.terminal import CompareProgress, print_comparison
    from airtune.scenario_file import load_scenario

    chosen = load_scenario(scenario, task=task, data=data, rounds=rounds)
    shares = None if bandwidth is None else _names(bandwidth)
    goal = _target(target_loss)
    _check_logger(log)
    try:
        with CompareProgress() as progress:
            found = api.compare(
                chosen,
                out,
                _names(methods),
                None if reductions is None else _names(reductions),
                seeds,
                goal,
                budget,
                workers,
                learnt,
                progress,
                bandwidth=shares,
                log=log,
            )
    except InputError as error:
        if error.file != "compare" or not error.field:  # an --out of that name has no field
            raise
        argument, *_ = error.field.split(".")
        raise InputError(_option(argument), "", error.found, error.expected) from error
    print_comparison(found, out)
    if found.missing:
        raise typer.Exit(1)


@app.command()
def sweep(
    directory: Annotated[Path, typer.Argument(help="Folder of a comparison.", show_default=False)],
    compute: Annotated[
        str | None,
        typer.Option(help="Factors of every device's speed: 0.25,1,4.", show_default=False),
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(help="Every cell's uplink, its downlink in proportion: 2MHz,10MHz.", show_default=False),
    ] = None,
    heterogeneity: Annotated[
        str | None,
        typer.Option(help="Spread of the devices' speeds, 0: all alike, 1: as it is.", show_default=False),
    ] = None,
    clients: Annotated[
        str | None, typer.Option(help="Numbers of clients, planned only: 4,16,64.", show_default=False)
    ] = None,
) -> None:
    """Clock a comparison again on other devices and links, and plan for them; nothing is trained."""
    from airtune import api
    from airtune.sweeping.terminal import SweepProgress, print_sweep

    given = {
        "compute": compute,
        "bandwidth": bandwidth,
        "heterogeneity": heterogeneity,
        "clients": clients,
    }
    values = {axis: _names(text) for axis, text in given.items() if text is not None}
    try:
        with SweepProgress() as progress:
            found = api.sweep(directory, **values, on_point=progress.on_point)
    except InputError as error:
        if error.file != "sweep" or not error.field:
            raise
        axis, *_ = error.field.split(".")
        raise InputError(_option(axis), "", error.found, error.expected) from error
    print_sweep(found, directory)


@app.command()
def profile(
    model: Annotated[str, typer.Option(help="Model to train.")] = "smollm2-135m",
    out: Annotated[Path, typer.Option(help="File to write; its name names the device.")] = Path(
        "device.yaml"
    ),
) -> None:
    """Measure how fast this machine trains, as a device for scenarios: `device: device.yaml`."""
    from airtune.device_profile import profile_device

    chosen = profile_device(model, out, print)
    rate, error = chosen.throughput / 1e9, chosen.measured["error"]
    print(f"wrote {out}: {rate:.4g} GFLOP/s, off a step's time by {error:.0%}; in a scenario: device: {out}")


@app.command()
def report(
    directory: ResultsFolder,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also its charts, as figures/*.pdf for papers.")] = False,
) -> None:
    """Write report.html anew, and a comparison's tables, also of what is still going on."""
    from airtune.results.report import write_report

    print(write_report(directory, pdf))


@app.command()
def trace(
    directory: ResultsFolder,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="DIR/trace.json")] = None,
) -> None:
    """Write clients' timelines in simulated time as a trace; ui.perfetto.dev opens it."""
    from airtune.results.trace import write_trace

    print(write_trace(directory, out))


@app.command()
def calibrate(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs of one task.", show_default=False)
    ],
    target: Annotated[
        float | None, typer.Option(help="Test loss to reach.", show_default="the lowest that all reached")
    ] = None,
) -> None:
    """Fit the planner's rounds to target, `convergence` in a scenario, to earlier runs."""
    from airtune.results.calibration import calibrate

    print(calibrate(directories, target))


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def _names(text: str) -> list[str]:
    """Those that stand with commas between."""
    return [name.strip() for name in text.split(",")]


def _target(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise InputError("--target-loss", "", text, "auto, or a test loss above 0") from error


def _check_resume(resume: bool, out: Path | None) -> None:
    if resume and out is None:
        raise InputError("--resume", "", words("no --out"), "the folder of the run to go on with")


def _check_logger(name: str | None) -> None:
    from airtune.results.loggers import check_logger

    try:
        if name is not None:
            check_logger(name)
    except ArgumentError as error:
        raise InputError("--log", "", error.found, error.expected) from error


def _option(argument: object) -> str:
    return f"--{argument}".replace("_", "-")


def main() -> None:
    """Entry point."""
    try:
        app(standalone_mode=True)
    except AirtuneError as error:
        print("airtune:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer ends so, without a word
            print("airtune: interrupted", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
