"""What a client does to its update before anything else happens to it: clip it, and add Gaussian noise.

The update u is one vector: what training changed in all matrices that are sent. Clipped it lies in a ball of
radius C, whatever the client's data are, so that two data sets move it by 2C at most. N(0, (noise·C)²) in
every coordinate hides which of them it was: the Gaussian mechanism, whose epsilon `accountant` tells.

All that follows sees u through the noised vector alone: the sum with what was received, top-k, rounding, and
what error feedback keeps for later rounds are functions of it and of numbers that the server knows. Whatever
is computed from a private result is as private (post-processing, Dwork and Roth 2014, proposition 2.1), so
the order matters: noise first, then encoding.

The noise is that of a pseudo-random function: keyed by a secret, of all that the client was sent and of the
clipped update. Asked the same again, because the server was killed, the client gives the same answer, which
tells nothing new; any other question or update gets noise of its own. With noise from the round's number
alone, the difference of two answers would be free of noise. Who has the key can take the noise off.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from airtune.errors import AirtuneError, InputError, words
from airtune.scenario import Privacy

KEY_BYTES = 32  # of a secret at least
MOST_KEY_BYTES = 4096

Matrices = Mapping[str, npt.NDArray[np.float32]]
Update = dict[str, npt.NDArray[np.float64]]


def privatised(
    trained: Matrices, received: Matrices, privacy: Privacy, key: bytes, question: bytes
) -> dict[str, npt.NDArray[np.float32]]:
    """The trained matrices as a client may show them: `received` plus the clipped and noised update.

    Args:
        trained: the matrices that training changed.
        received: at least these as they were before.
        key: the client's secret.
        question: a digest of all that the client was sent.
    """
    update = clipped({name: matrix - received[name] for name, matrix in trained.items()}, privacy.clip)
    digest = hashlib.blake2b(question, key=hashlib.sha512(key).digest())
    for name, change in update.items():
        digest.update(f"{name} {change.shape} ".encode() + change.tobytes())
    secret = digest.digest()
    deviation = privacy.noise * privacy.clip
    # Noise joins in float64, and the sum is rounded: float32 has no room for what the last bits would tell.
    return {
        name: (received[name] + (change + deviation * _normal(secret, name, change.shape))).astype(np.float32)
        for name, change in update.items()
    }


def clipped(update: Matrices, clip: float) -> Update:
    """The vector of all matrices, scaled down to an L2 norm of `clip` if it is longer.

    An update that is not finite becomes zero: that a training has diverged is a fact about the data too.
    """
    exact = {name: change.astype(np.float64) for name, change in update.items()}
    norm = np.sqrt(sum(float(np.square(change).sum()) for change in exact.values()))
    if not np.isfinite(norm):
        return {name: np.zeros_like(change) for name, change in exact.items()}
    scale = min(1.0, clip / norm) if norm > 0 else 1.0
    return {name: scale * change for name, change in exact.items()}


def read_key(file: Path) -> bytes:
    """A client's secret. Raises InputError if it cannot be read, or is no secret for its length."""
    expected = f"a secret of {KEY_BYTES} bytes or more"
    try:
        with file.open("rb") as opened:
            key = opened.read(MOST_KEY_BYTES)
    except OSError as error:
        raise InputError(file, "", words(error.strerror or "no access"), expected) from error
    if len(key) < KEY_BYTES:
        raise InputError(file, "", words(f"{len(key)} bytes"), expected)
    return key


def simulated_key(seed: int, client: int) -> bytes:
    """What stands for the secret of a client that is simulated: whoever knows the scenario knows it."""
    return f"simulated {seed} {client}".encode()


def client_key(node: Mapping[str, object], run: Mapping[str, object], seed: int, client: int) -> bytes:
    """The secret of the client in this process.

    Args:
        node: its node configuration, where `noise-key` names a file.
        run: the run configuration, where `simulated` says that seeds may stand for secrets.

    Raises:
        AirtuneError: there is none.
    """
    if file := node.get("noise-key"):
        return read_key(Path(str(file)))
    if run.get("simulated"):
        return simulated_key(seed, client)
    raise AirtuneError("no noise-key in the node configuration, and the clients are not simulated")


def _normal(secret: bytes, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Standard normal values from SHAKE-256, a cryptographic stream, by Box and Muller's transformation.

    53 bits a uniform value: the tails end beyond 8.5 standard deviations.
    """
    count = int(np.prod(shape))
    pairs = -(-count // 2)
    stream = hashlib.shake_256(secret + name.encode()).digest(16 * pairs)
    uniform = ((np.frombuffer(stream, "<u8") >> np.uint64(11)) + 0.5) * 2.0**-53
    length, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    return np.concatenate([length * np.cos(angle), length * np.sin(angle)])[:count].reshape(shape)
