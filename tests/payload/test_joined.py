"""All matrices as one array: what goes in comes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from airtune.payload.joined import join, split

SHAPES = st.dictionaries(
    st.text(max_size=5), st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5
)


@given(SHAPES, st.sampled_from([np.float32, np.uint16, np.uint8]), st.data())
def test_matrices_come_out_as_they_went_in(shapes, dtype, data):
    matrices = {name: data.draw(npst.arrays(dtype, shape)) for name, shape in shapes.items()}
    joined = join(matrices)
    assert joined.dtype == dtype
    found = split(joined, shapes)
    assert list(found) == list(matrices)
    assert all(np.array_equal(found[name], matrices[name], equal_nan=True) for name in shapes)


def test_their_order_does_not_matter():
    matrices = {"b": np.ones((2, 3)), "a": np.zeros((1, 2))}
    assert join(matrices).tolist() == join(dict(sorted(matrices.items()))).tolist() == [0, 0, *[1] * 6]


def test_a_transposed_matrix_is_read_row_by_row():
    matrix = np.arange(6.0).reshape(2, 3)
    assert (split(join({"a": matrix.T}), {"a": (3, 2)})["a"] == matrix.T).all()


@pytest.mark.parametrize("joined", [np.ones(5), np.ones(7), np.ones((2, 3)), np.ones(())])
def test_another_size_is_refused(joined):
    with pytest.raises(ValueError, match="for matrices of 6 entries"):
        split(joined, {"a": (2, 3)})
