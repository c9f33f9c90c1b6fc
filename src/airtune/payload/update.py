"""A whole upload: what training changed, plus what earlier uploads lost; and the way back.

Error feedback (Seide et al. 2014; Karimireddy et al. 2019): what a lossy upload leaves out stays with the
client and joins the next one, so that over the rounds everything arrives. It needs *changes* to be sent,
not values. Without loss the trained matrices travel as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.errors import AirtuneError
from airtune.payload.matrix import decode, encode
from airtune.scenario import Payload

Matrices = Mapping[str, npt.NDArray[np.float32]]


def encode_update(
    trained: Matrices,
    received: Matrices,
    residual: Matrices,
    payload: Payload,
    draw: Callable[[str], np.random.Generator],
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[np.float32]]]:
    """What to send, and what of it is lost on the way.

    Args:
        trained: the matrices that training changed.
        received: at least these as they were before.
        residual: what earlier uploads have lost of them.
        draw: the random generator for a matrix's rounding, by name.
    """
    if payload.is_lossless:
        return dict(trained), {}
    sent, lost = {}, {}
    for name, matrix in trained.items():
        wanted = matrix - received[name] + residual[name]
        sent[name] = encode(wanted, payload, draw(name))
        lost[name] = wanted - decode(sent[name], wanted.shape, payload)
    return sent, lost


def decode_update(
    sent: Mapping[str, npt.NDArray[Any]], received: Matrices, payload: Payload
) -> dict[str, npt.NDArray[np.float32]]:
    """The trained matrices as the server sees them.

    Args:
        sent: arrays as `sent_form` says.
        received: at least the same matrices as the client got them.

    Raises:
        AirtuneError: a matrix cannot be read; names it.
    """
    if payload.is_lossless:
        return dict(sent)
    trained = {}
    for name, array in sent.items():
        matrix = received[name]
        try:
            trained[name] = matrix + decode(array, matrix.shape, payload)
        except AirtuneError as error:
            raise AirtuneError(f"an update whose matrix {name} has {error}") from error
    return trained
