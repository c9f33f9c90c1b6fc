"""What a client's top-k uploads have left out so far: kept by the client itself, from round to round.

In the simulated fleet of one process that is the client's context, which the server's checkpoint holds too.
A process of its own keeps it in files instead, if its run configuration names a folder for them (`state`):
then a client that was killed goes on with what it had. A server that goes on repeats the round that it was
killed in, so that the client must have the state before that round and the one after it.
"""

from pathlib import Path

import safetensors
from flwr.app import Context
from safetensors.numpy import load_file, save_file

from airtune.errors import InputError, words
from airtune.federation.arrays import to_record
from airtune.federation.checkpoint import Checkpoint
from airtune.files import put_in_place
from airtune.pruning.adapters import Adapter

RECORD = "residual"
CLIENT_FILES = "clients"  # folder of such files in the folder of a run


def residual_before(context: Context, round_number: int) -> Adapter | None:
    """What this client's uploads had left out before a round; None if nothing yet.

    Raises:
        InputError: its file is damaged.
    """
    folder = _folder(context)
    if folder is None:
        if RECORD not in context.state:
            return None
        return {name: array.numpy() for name, array in context.state.array_records[RECORD].items()}
    earlier = [number for number in _kept(folder) if number < round_number]
    return _load(_file(folder, max(earlier))) if earlier else None


def keep_residual(context: Context, round_number: int, residual: Adapter) -> None:
    """Keep what the uploads have left out after a round."""
    folder = _folder(context)
    if folder is None:
        context.state[RECORD] = to_record(residual)
        return
    before = max((number for number in _kept(folder) if number < round_number), default=round_number)
    _write(folder, round_number, residual)
    for number in _kept(folder):
        if not before <= number <= round_number:
            _file(folder, number).unlink()


def hand_over(checkpoint: Checkpoint, folder: Path) -> None:
    """Write what a checkpoint holds of clients' contexts to their files, for processes of their own."""
    residuals: dict[str, Adapter] = {}
    for name, array in checkpoint.clients.items():
        client, record, matrix = name.split("/", 2)
        if record == RECORD:
            residuals.setdefault(client, {})[matrix] = array
    for client, residual in residuals.items():
        _write(folder / client, checkpoint.round_number, residual)


def _load(file: Path) -> Adapter:
    try:
        return load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        found = words(type(error).__name__)
        raise InputError(file, "", found, "what a client of airtune keeps between rounds") from error


def _write(folder: Path, round_number: int, residual: Adapter) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "new"
    save_file(residual, new)
    put_in_place(new, _file(folder, round_number))


def _folder(context: Context) -> Path | None:
    place = context.run_config.get("state")
    return Path(str(place)) / str(context.node_config["partition-id"]) if place else None


def _file(folder: Path, round_number: int) -> Path:
    return folder / f"{round_number}.safetensors"


def _kept(folder: Path) -> list[int]:
    return [int(file.stem) for file in folder.glob("*.safetensors") if file.stem.isdecimal()]
