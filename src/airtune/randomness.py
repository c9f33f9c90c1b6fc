"""Random generators derived from what they are for, so that nothing depends on the order of calls."""

import hashlib

import numpy as np


def derived_seed(seed: int, *purpose: int | str) -> int:
    """A 63-bit seed that depends on `seed` and every word of `purpose`, the same on every machine."""
    text = "/".join([str(seed), *(str(word) for word in purpose)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A NumPy generator for one purpose, e.g. `generator(seed, "fading", round_number, client_id)`."""
    return np.random.default_rng(derived_seed(seed, *purpose))
