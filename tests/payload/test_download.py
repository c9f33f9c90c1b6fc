"""A download: as it is, or in bfloat16 rounded to the nearest."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from airtune.payload.download import TYPES, pack_download, unpack_download
from airtune.scenario import Payload

NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
MATRICES = npst.arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(1, 9)), elements=NUMBERS)


@given(MATRICES)
def test_bfloat16_is_the_nearest_one(matrix):
    sent = pack_download({"a": matrix.T}, Payload(download="bfloat16"))["a"]
    assert (sent.dtype, sent.shape) == (TYPES["bfloat16"], matrix.T.shape)
    found = unpack_download({"a": sent})["a"]
    assert found.dtype == np.float32
    assert np.array_equal(found, torch.tensor(matrix.T.copy()).bfloat16().float().numpy())


@given(MATRICES)
def test_float32_is_sent_as_it_is(matrix):
    sent = pack_download({"a": matrix}, Payload(download="float32"))
    assert sent["a"] is matrix
    assert unpack_download(sent)["a"] is matrix


def test_another_type_of_number_is_refused():
    with pytest.raises(ValueError, match="matrix a in float64, not float32 or bfloat16"):
        unpack_download({"a": np.zeros((2, 2))})
