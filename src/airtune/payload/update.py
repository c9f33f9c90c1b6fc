"""A whole upload: what training changed, plus what earlier uploads left out; and the way back.

Error feedback (Seide et al. 2014; Karimireddy et al. 2019) goes with top-k: what an upload leaves out stays
with the client and joins the next one, so that over the rounds everything arrives. Rounding alone is right in
the mean and needs none. Both need *changes* to be sent, not values. Without loss the trained matrices travel
as they are.
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
    owed: Matrices,
    payload: Payload,
    draw: Callable[[str], np.random.Generator],
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[np.float32]]]:
    """What to send, and what of it the client owes from now on: nothing unless the payload `owes`.

    Args:
        trained: the matrices that training changed.
        received: at least these as they were before.
        owed: of all of them what earlier uploads have left out, if the payload `owes`.
        draw: the random generator for a matrix's rounding, by name.
    """
    if payload.is_lossless:
        return dict(trained), {}
    sent, left = {}, {}
    for name, matrix in trained.items():
        wanted = matrix - received[name]
        if payload.owes:
            wanted += owed[name]
        sent[name] = encode(wanted, payload, draw(name))
        if payload.owes:
            left[name] = wanted - decode(sent[name], wanted.shape, payload)
    return sent, left


def decode_update(
    sent: Mapping[str, npt.NDArray[Any]], received: Matrices, held: Matrices, payload: Payload
) -> dict[str, npt.NDArray[np.float32]]:
    """The trained matrices as the server sees them: what training changed, added to what the server has.

    Args:
        sent: arrays as `sent_form` says.
        received: at least the same matrices, as the client began with them.
        held: as the server has them; the very same where nothing was lost on the way.

    Raises:
        AirtuneError: a matrix cannot be read; names it.
    """
    if payload.is_lossless and received is held:
        return dict(sent)
    trained = {}
    for name, array in sent.items():
        matrix = held[name]
        try:
            with np.errstate(invalid="ignore"):  # what is not finite is refused with the whole update
                if payload.is_lossless:  # values are sent, not changes
                    change = array - received[name]
                else:
                    change = decode(array, matrix.shape, payload)
                trained[name] = matrix + change
        except AirtuneError as error:
            raise AirtuneError(f"an update whose matrix {name} has {error}") from error
    return trained
