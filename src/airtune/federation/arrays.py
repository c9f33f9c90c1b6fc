"""Matrices in Flower's records: all of a message in one array, and checked before they are read."""

import io
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from airtune.errors import AirtuneError
from airtune.payload.download import unpack_download
from airtune.payload.joined import JOINED, join, split
from airtune.payload.matrix import Form
from airtune.pruning.adapters import Adapter


def to_record(arrays: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Arrays as Flower sends and keeps them."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def joined_record(matrices: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Matrices, all in one type of number, as one array."""
    return to_record({JOINED: join(matrices)} if matrices else {})


def sent_records(
    name: str, matrices: Mapping[str, npt.NDArray[Any]]
) -> dict[str, ArrayRecord | ConfigRecord]:
    """Records `name` and `name`-layout: matrices (rows, columns) for a client, and what they are.

    A server needs no layout: it knows what it has asked for, and believes nothing else.
    """
    layout: dict[str, Any] = {
        "names": list(matrices),
        "rows": [len(matrix) for matrix in matrices.values()],
        "columns": [matrix.shape[1] for matrix in matrices.values()],
    }
    return {name: joined_record(matrices), f"{name}-layout": ConfigRecord(layout if matrices else {})}


def read_sent(name: str, content: RecordDict) -> Adapter:
    """The other way, in float32. KeyError or ValueError where it is something else."""
    layout: Mapping[str, Any] = content.config_records[f"{name}-layout"]
    if not layout:
        return {}
    columns = zip(layout["names"], layout["rows"], layout["columns"], strict=True)
    shapes = {matrix: (int(rows), int(columns)) for matrix, rows, columns in columns}
    return unpack_download(split(content.array_records[name][JOINED].numpy(), shapes))


def read_asked(record: ArrayRecord, forms: Mapping[str, Form]) -> dict[str, npt.NDArray[Any]]:
    """The matrices in a record that holds exactly those of `forms`, all in one type of number.

    Raises:
        AirtuneError: it holds another array or another size; nothing of it has been read.
    """
    for name in record:
        if name != JOINED:
            raise AirtuneError(f"an update with an array {name} that was not asked for")
    if not forms:
        return {}
    dtype = next(iter(forms.values()))[0]  # they share it
    shapes = {name: shape for name, (_, shape) in forms.items()}
    entries = sum(map(math.prod, shapes.values()))
    header = _header(dtype, (entries,))
    data = record[JOINED].data if JOINED in record else b""
    if len(data) != len(header) + dtype.itemsize * entries or not data.startswith(header):
        raise AirtuneError(f"an update that is not the {entries} numbers in {dtype} that were asked for")
    return split(np.frombuffer(data, dtype, offset=len(header)), shapes)


@lru_cache(maxsize=1024)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What NumPy writes before the numbers of such an array."""
    stream = io.BytesIO()
    description = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": description, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()
