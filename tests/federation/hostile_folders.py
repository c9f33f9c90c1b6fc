"""Files that no run would write, read as by a run that goes on or is shown."""

import atexit
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from flwr.app import Context, RecordDict
from hostile_bytes import other_array, scrambled
from hostile_replies import TINY, fleet

from airtune import load_scenario, run
from airtune.federation.checkpoint import Checkpoint
from airtune.federation.learnt_rounds import LearntRounds
from airtune.federation.residual import hand_over, residual_before
from airtune.privacy.noise import read_key
from airtune.pruning.measured import kept
from airtune.results.events import read_events
from airtune.results.plans import read_plan
from airtune.results.report import write_report
from airtune.results.table import summary_table
from airtune.scenario import Scenario

ODD: tuple[Any, ...] = (None, True, 0, -1, 1, 2**31, 2**63, 10**30, -0.0, 1e308, float("inf"), float("nan"))
ODD += ("", "x", "0", "\n\x1b[2J", "é" * 200, "../../x", [], [1], [[]], {}, {"a": 1}, "slow-0")


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
            new.writestr(name, other_array(b"", random) if name == chosen else old.read(name))
    return stream.getvalue()


@lru_cache
def valid() -> Path:
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
    original = random.choice(sorted(valid().glob(pattern)))
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        file = Path(folder) / original.relative_to(valid())
        file.parent.mkdir(parents=True, exist_ok=True)
        _spoil_file(original, file, random)
        return READERS[pattern](file)


def hostile_folder(random: Random) -> str:
    """A run goes on, or is shown, in a folder of which one file is spoilt."""
    original = random.choice([one for one in sorted((valid() / "run").rglob("*")) if one.suffix in SPOILERS])
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        shutil.copytree(valid() / "run", folder, dirs_exist_ok=True)
        _spoil_file(original, Path(folder) / original.relative_to(valid() / "run"), random)
        if random.random() < 0.5:
            write_report(folder)
            return "shown"
        run(load_scenario(valid() / "run/scenario.yaml"), folder, resume=True)
        return "gone on"


def _spoil_file(original: Path, file: Path, random: Random) -> None:
    spoilers = SPOILERS.get(original.suffix, (scrambled,))
    file.write_bytes(random.choice(spoilers)(original.read_bytes(), random))


def _learnt(file: Path) -> str:
    key = file.name.split(".")[0]
    for other in valid().glob(f"learnt/{key}.*"):
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
    "run/path.npz": lambda file: _read(kept(file, lambda: fleet(0, False)[0].measured)),
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
