"""Replies and files that no client and no run would write, and what their readers make of them.

Every maker takes a `random.Random`, so that a number names a case. Replies go through `train_clients`, which
reads them as a run does, files through the readers of a run that goes on or is shown. All of it has to end in
something read or in a one-line error; anything else is an offence.
"""

import atexit
import io
import json
import shutil
import signal
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from airtune import load_scenario, run
from airtune.costs.count import Workload
from airtune.costs.error import Gradients
from airtune.errors import AirtuneError
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.exchange import nodes_now
from airtune.federation.grid import InProcessGrid
from airtune.federation.learn import merge
from airtune.federation.learnt_rounds import LearntRounds
from airtune.federation.messages import Update
from airtune.federation.overdue import Overdue
from airtune.federation.report import Report
from airtune.federation.residual import hand_over, residual_before
from airtune.federation.round import PlannedRound, plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.federation.trainings import train_clients
from airtune.payload.update import encode_update
from airtune.planning import Pace
from airtune.privacy.noise import read_key
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.measured import kept, measured_path
from airtune.results.events import read_events
from airtune.results.plans import read_plan
from airtune.results.report import write_report
from airtune.results.table import summary_table
from airtune.scenario import Scenario

LONGEST_S = 60  # for one case, on a busy machine; most take milliseconds
MOST_CHARACTERS = 600  # of an error
TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
PAYLOADS = (
    {"format": "float32"},
    {"format": "bfloat16"},
    {},
    {"format": "int4", "keep": 0.25},
    {"keep": 0.01},
)
ODD: tuple[Any, ...] = (None, True, 0, -1, 1, 2**31, 2**63, 10**30, -0.0, 1e308, float("inf"), float("nan"))
ODD += ("", "x", "0", "\n\x1b[2J", "é" * 200, "../../x", [], [1], [[]], {}, {"a": 1}, "slow-0")


class Outcome(NamedTuple):
    """How a case ended: "read", or the beginning of an error. `offence` is empty where all is well."""

    kind: str
    offence: str


def outcome(case: Callable[[Random], str], random: Random) -> Outcome:
    """Play a case, whatever comes of it."""
    _valid()  # takes seconds the first time
    try:
        with _limit(LONGEST_S):
            return Outcome(case(random), "")
    except AirtuneError as error:
        text = str(error)
        if len(text.splitlines()) != 1 or len(text) > MOST_CHARACTERS or not text.isprintable():
            return Outcome("offence", f"no line: {text[:200]!r}")
        return Outcome(" ".join(word for word in text.split() if "/" not in word)[:60], "")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Outcome("offence", f"{type(error).__name__}: {error}"[:300])


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Replies


@lru_cache
def _fleet(number: int, private: bool) -> tuple[Setting, Adapter, PlannedRound]:
    changes: dict[str, Any] = {"payload": PAYLOADS[number], "method": "uniform"}
    if private:
        changes["privacy"] = {"clip": 1.0, "noise": 0.1}
    scenario = Scenario.model_validate(load_scenario(TINY).model_dump() | changes)
    setting = make_setting(scenario, measured_path(scenario))
    adapter = initial_adapter(setting.measured.path.full, 0)
    planned = plan_round(setting, Gradients(np.ones(4), np.ones(4)), Pace(), 1)
    return setting, adapter, planned


def hostile_reply(random: Random) -> str:
    """One client's reply is spoilt, another's is right: the round goes on with at least that one."""
    number, private = random.randrange(len(PAYLOADS)), random.random() < 0.2
    setting, adapter, planned = _fleet(number, private)
    asked = {client: planned.assignments[client] for client in (0, 3)}
    right = {client: _right_reply(number, private, client) for client in asked}
    app = ClientApp()

    @app.query()
    def describe(message: Message, context: Context) -> Message:
        who = ConfigRecord({"partition-id": context.node_config["partition-id"]})
        return Message(RecordDict({"profile": who}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        content = RecordDict({name: type(one)(dict(one)) for name, one in right[client].items()})
        for _ in range(random.randint(1, 2) if client == 3 else 0):
            _spoil_reply(content, random)
        return Message(content, reply_to=message)

    grid = InProcessGrid(app, 4, {})
    nodes = nodes_now(grid, {})
    done = train_clients(grid, nodes, setting, adapter, asked, lambda client, loss: None, Overdue())
    if 0 in done.failed or done.trained.keys() | done.failed.keys() != {0, 3}:
        raise AssertionError(f"a right reply was refused: {done.failed}")
    merged = merge(setting, adapter, asked, done.trained)
    if not all(np.isfinite(matrix).all() for matrix in merged.values()):
        raise AssertionError("what was merged is not finite")
    if 3 in done.failed:
        raise AirtuneError(done.failed[3])
    return "read"


def hostile_report(random: Random) -> str:
    """What a node says of itself is spoilt: it is no client, or one with or without a report."""
    content = RecordDict(
        {
            "profile": ConfigRecord({"partition-id": 1}),
            "device": ConfigRecord({"name": "mine", "throughput": 1e9, "memory": 1e9, "power": 5.0}),
        }
    )
    if random.random() < 0.3:
        content["refused"] = ConfigRecord({"reason": random.choice(["x", "\n\x1b[2J", "é" * 10_000])})
    record = content.config_records[random.choice(list(content))]
    record[random.choice([*record, "more"])] = random.choice(
        [0, -1, 2**62, 3.0, 1e308, -0.0, float("nan"), float("inf"), True, "", "3", "\x00", b"3", [3], ["x"]]
    )
    if random.random() < 0.3:
        del record[random.choice(list(record))]
    if random.random() < 0.1:
        name = random.choice([*content, "more"])
        content.pop(name, None)
        content[name] = MetricRecord({"partition-id": 1})
    report = Report.from_content(content)
    if report.refused is not None:
        raise AirtuneError(report.refused)
    return "read"


@lru_cache
def _right_reply(number: int, private: bool, client: int) -> RecordDict:
    setting, adapter, planned = _fleet(number, private)
    scenario, asked = setting.scenario, planned.assignments[client]
    held = slice_adapter(adapter, setting.measured.path.full, asked.reduction, trained_only=True)
    draw = np.random.default_rng(client)
    moved = {name: one + draw.standard_normal(one.shape).astype(np.float32) for name, one in held.items()}
    owed = {name: np.zeros_like(one) for name, one in held.items()}
    sent, _ = encode_update(moved, held, owed, scenario.payload, lambda name: np.random.default_rng(1))
    if scenario.privacy is not None:
        return Update(client, 1, sent, None, ()).to_content()
    return Update(client, 1, sent, 2.0, (Workload(4, 60.0, 8.0),) * asked.steps).to_content()


def _spoil_reply(content: RecordDict, random: Random) -> None:
    """Change one thing about a reply."""
    change = random.randrange(10)
    records = list(content)
    if change == 0 and records:
        del content[random.choice(records)]
    elif change == 1:
        name = random.choice(["adapter", "metrics", "origin", "more"])
        content.pop(name, None)
        content[name] = random.choice(
            [ArrayRecord({}), MetricRecord({}), ConfigRecord({}), MetricRecord({"loss": 1.0})]
        )
    elif change == 2 and "metrics" in content.metric_records:
        metrics = content.metric_records["metrics"]
        name = random.choice([*metrics, "more"])
        metrics[name] = random.choice(
            [
                0,
                -1,
                2**62,
                -0.0,
                1e308,
                float("nan"),
                float("inf"),
                [],
                [1],
                [2**62] * 2,
                [1e308, float("nan")],
            ]
        )
        if random.random() < 0.3:
            del metrics[name]
    elif change == 3 and "origin" in content.config_records:
        origin = content.config_records["origin"]
        name = random.choice([*origin, "more"])
        origin[name] = random.choice(
            [0, -1, 2**62, 3.0, float("nan"), True, "3", "", b"3", [3], ["x"], [b""]]
        )
        if random.random() < 0.3:
            del origin[name]
    elif content.array_records:
        arrays = content.array_records[next(iter(content.array_records))]
        name = random.choice([*arrays, *arrays, *arrays, "more"])
        data = arrays[name].data if name in arrays else b""
        arrays[name] = Array(
            random.choice(["float32", "uint8", "object", "", "float128"]),
            random.choice([(), (1,), (2, 2), (10**9, 10**9), (0,)]),
            random.choice(["numpy.ndarray", "numpy.ndarray", "torch.Tensor", "pickle", ""]),
            random.choice([scrambled, _dented, _dented, _other_array])(data, random),
        )
        if random.random() < 0.1:
            del arrays[name]


def _other_array(data: bytes, random: Random) -> bytes:
    """An array in NumPy's format, or its header alone: huge, of objects, of nothing."""
    kind = random.choice(["<f4", "<f8", "|u1", "|O", "<U9", ">f4", "<c16", "|V7"])
    shape = random.choice([(0,), (1,), (2, 2), (10**6, 10**6), (2**62,), (-1,), ()])
    stream = io.BytesIO()
    header = {"descr": kind, "fortran_order": random.random() < 0.3, "shape": shape}
    random.choice([np.lib.format.write_array_header_1_0, np.lib.format.write_array_header_2_0])(
        stream, header
    )
    return stream.getvalue() + random.choice([b"", data, b"\x80\x04N.", bytes(64)])


def _dented(data: bytes, random: Random) -> bytes:
    """An array's bytes, as many as before, with other numbers in it: scales, positions, values."""
    numbers = [np.float32(one).tobytes() for one in (np.nan, np.inf, -1.0, 3e38, 1e-45, -0.0)]
    found = bytearray(data)
    for _ in range(random.randint(1, 4) if len(found) >= 132 else 0):
        at = random.randrange(128, len(found) - 3)
        found[at : at + 4] = random.choice([*numbers, bytes(4), b"\xff" * 4, random.randbytes(4)])
    return bytes(found)


def scrambled(data: bytes, random: Random) -> bytes:
    """Bytes with a few flipped, put in, taken out, copied elsewhere, or all but the beginning gone."""
    found = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(len(found) + 1), random.choice((1, 2, 4, 8, 64, 1000))
        change = random.randrange(7)
        if change == 0:
            found[at : at + 1] = bytes([random.randrange(256)])
        elif change == 1:
            found[at : at + length] = bytes(min(length, len(found) - at))
        elif change == 2:
            del found[at : at + length]
        elif change == 3:
            start = random.randrange(len(found) + 1)
            found[at:at] = found[start : start + length]
        elif change == 4:
            del found[at:]
        elif change == 5:
            found[at : at + 4] = b"\x00\x00\xc0\x7f"[: len(found) - at]  # a float32 that is no number
        else:
            found[at:at] = random.choice((b"\xff" * 8, b"1e999", b"NaN", b"null", b"-", b"{", b"]", b"\n"))
    return bytes(found)


# Files


def spoilt(value: Any, random: Random) -> Any:
    """A JSON value with one thing in it replaced, removed, added or doubled."""
    value = deepcopy(value)
    holder, key = None, None
    here = value
    while isinstance(here, dict | list) and here and (holder is None or random.random() < 0.8):
        holder, key = (
            here,
            random.choice(list(here)) if isinstance(here, dict) else random.randrange(len(here)),
        )
        here = here[key]
    if holder is None:
        return random.choice(ODD)
    change = random.randrange(4)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, list):
        holder.append(here)
    elif change == 1:
        holder[random.choice(["more", "", "id", "event"])] = random.choice(ODD)
    elif isinstance(here, float | int) and change == 2:
        holder[key] = random.choice((-here, here * 1e9, here + 0.5, str(here)))
    else:
        holder[key] = random.choice(ODD)
    return value


def _spoil_json(data: bytes, random: Random) -> bytes:
    return json.dumps(spoilt(json.loads(data), random)).encode()


def _spoil_lines(data: bytes, random: Random) -> bytes:
    """Spoils a line of JSON, or their order."""
    lines = data.splitlines(keepends=True)
    at = random.randrange(len(lines))
    if random.random() < 0.2:
        random.choice((lines.pop, lambda at: lines.insert(0, lines.pop(at))))(at)
    else:
        lines[at] = _spoil_json(lines[at], random) + b"\n"
    return b"".join(lines)


def _spoil_safetensors(data: bytes, random: Random) -> bytes:
    """Spoils the header of a safetensors file, or the JSON that airtune keeps in it."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    own = header.get("__metadata__", {})
    if "airtune" in own and random.random() < 0.7:
        own["airtune"] = json.dumps(spoilt(json.loads(own["airtune"]), random))
    else:
        header = spoilt(header, random)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _spoil_npz(data: bytes, random: Random) -> bytes:
    """Spoils one array of an npz file."""
    with np.load(io.BytesIO(data)) as stored:
        arrays = dict(stored)
    name = random.choice(list(arrays))
    found, change = arrays[name], random.randrange(6)
    stream = io.BytesIO()
    if change == 0:
        del arrays[name]
    elif change == 1:
        arrays[name] = np.array(random.choice([-1, 2**62, np.nan, np.inf, "x", 0]))
    elif change == 2 and found.ndim:
        arrays[name] = found[: random.randrange(len(found) + 1)]
    elif change == 3 and found.size and found.dtype.kind in "iuf":
        spoil = found.copy()
        spoil.flat[random.randrange(found.size)] = random.choice([-1, 2**31, 0])
        arrays[name] = spoil
    elif change == 4:
        arrays[name] = (
            found.astype(random.choice(["f8", "i8", "U5", "?"])) if found.dtype.kind != "U" else found
        )
    else:
        arrays[name] = np.array([{"a": 1}], dtype=object)  # a pickle
    np.savez(stream, **arrays, allow_pickle=True)
    return stream.getvalue()


def _zipped_headers(data: bytes, random: Random) -> bytes:
    """An npz file with a member of its own making, such as an array without end."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, _other_array(b"", random) if name == chosen else old.read(name))
    return stream.getvalue()


@lru_cache
def _valid() -> Path:
    """A run of two rounds that was stopped after the first, its learnt rounds, and files of its clients."""
    root = Path(tempfile.mkdtemp(prefix="hostile-"))
    atexit.register(shutil.rmtree, root)
    scenario = Scenario.model_validate(
        load_scenario(TINY).model_dump()
        | {"payload": {"keep": 0.5}, "rounds": 2, "privacy": {"clip": 1.0, "noise": 0.1}}
        | {"training": {"steps": 1, "batch_size": 1}, "method": "joint-select"}
    )
    run(scenario, root / "run", learnt=root / "learnt", budget=1e-3)
    (root / "run/summary.json").unlink()
    events = root / "run/events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))
    checkpoint = Checkpoint.load(root / "run")
    assert checkpoint is not None
    hand_over(checkpoint, root / "state")
    (root / "noise.key").write_bytes(bytes(range(64)))
    return root


def hostile_file(random: Random) -> str:
    """One file of a run is spoilt and read."""
    pattern = random.choice(list(READERS))
    original = random.choice(sorted(_valid().glob(pattern)))
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        file = Path(folder) / original.relative_to(_valid())
        file.parent.mkdir(parents=True, exist_ok=True)
        _spoil_file(original, file, random)
        return READERS[pattern](file)


def hostile_folder(random: Random) -> str:
    """A run goes on, or is shown, in a folder of which one file is spoilt."""
    original = random.choice([one for one in sorted((_valid() / "run").rglob("*")) if one.suffix in SPOILERS])
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        shutil.copytree(_valid() / "run", folder, dirs_exist_ok=True)
        _spoil_file(original, Path(folder) / original.relative_to(_valid() / "run"), random)
        if random.random() < 0.5:
            write_report(folder)
            return "shown"
        run(load_scenario(_valid() / "run/scenario.yaml"), folder, resume=True)
        return "gone on"


def _spoil_file(original: Path, file: Path, random: Random) -> None:
    spoilers = SPOILERS.get(original.suffix, (scrambled,))
    file.write_bytes(random.choice(spoilers)(original.read_bytes(), random))


def _learnt(file: Path) -> str:
    key = file.name.split(".")[0]
    for other in _valid().glob(f"learnt/{key}.*"):
        if other.name != file.name:
            shutil.copy(other, file.parent)
    return _read(LearntRounds(file.parent).find(key))


def _owed(file: Path) -> str:
    node, config = {"partition-id": int(file.parent.name)}, {"state": str(file.parent.parent)}
    client = Context(1, node_id=1, node_config=node, state=RecordDict(), run_config=config)
    return _read(residual_before(client, 2))


def _read(found: object) -> str:
    return "nothing" if found is None else "read"


READERS: dict[str, Callable[[Path], str]] = {
    "run/checkpoint.safetensors": lambda file: _read(Checkpoint.load(file.parent)),
    "run/events.jsonl": lambda file: _read(summary_table(read_events(file))),
    "run/path.npz": lambda file: _read(kept(file, lambda: _fleet(0, False)[0].measured)),
    "run/plans/*.json": lambda file: _read(read_plan(file)),
    "run/scenario.yaml": lambda file: _read(load_scenario(file)),
    "state/*/*.safetensors": _owed,
    "learnt/*.safetensors": _learnt,
    "noise.key": lambda file: _read(read_key(file)),
}
SPOILERS: dict[str, tuple[Callable[[bytes, Random], bytes], ...]] = {
    ".safetensors": (_spoil_safetensors, _spoil_safetensors, scrambled),
    ".jsonl": (_spoil_lines, _spoil_lines, scrambled),
    ".npz": (_spoil_npz, _zipped_headers, scrambled),
    ".json": (_spoil_json, scrambled),
}
CASES = {"reply": hostile_reply, "report": hostile_report, "file": hostile_file, "folder": hostile_folder}
