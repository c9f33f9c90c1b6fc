"""Bytes that nobody would write, made from those that somebody would."""

import io
from random import Random

import numpy as np


def other_array(data: bytes, random: Random) -> bytes:
    """An array in NumPy's format, or its header alone: huge, of objects, of nothing."""
    kind = random.choice(["<f4", "<f8", "|u1", "|O", "<U9", ">f4", "<c16", "|V7"])
    shape = random.choice([(0,), (1,), (2, 2), (10**6, 10**6), (2**62,), (-1,), ()])
    stream = io.BytesIO()
    header = {"descr": kind, "fortran_order": random.random() < 0.3, "shape": shape}
    random.choice([np.lib.format.write_array_header_1_0, np.lib.format.write_array_header_2_0])(
        stream, header
    )
    return stream.getvalue() + random.choice([b"", data, b"\x80\x04N.", bytes(64)])


def dented(data: bytes, random: Random) -> bytes:
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
