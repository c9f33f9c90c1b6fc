"""Messages: what goes in comes out, and a reply that is no update is refused."""

import io
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from airtune import AirtuneError
from airtune.costs.count import Workload
from airtune.federation.messages import Asked, Assignment, Update, adapter_bytes
from airtune.payload.joined import JOINED
from airtune.pruning.path import MeanInputs, Reduction

NAMES = st.text(min_size=1, max_size=20)
MATRICES = npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=5))
ADAPTERS = st.dictionaries(NAMES, MATRICES, max_size=4)
POSITIVE = st.floats(min_value=1e-3, max_value=1e6)
WORK = st.lists(st.builds(Workload, st.integers(1, 1000), POSITIVE, POSITIVE), min_size=1, max_size=5)


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name], equal_nan=True)
        for name in left
    )


def asked(matrices: dict, steps: int = 1) -> Asked:
    forms = {name: (matrix.dtype, matrix.shape) for name, matrix in matrices.items()}
    return Asked(7, 3, steps, Workload(1000, 1e6, 1e6), forms)


@st.composite
def reductions(draw) -> Reduction:
    layers = draw(st.integers(1, 6))
    neurons = draw(npst.arrays(bool, (layers, draw(st.integers(1, 20)))))
    groups = draw(npst.arrays(bool, (layers, draw(st.integers(1, 9)))))
    rank = draw(st.none() | st.integers(1, 1024))
    return Reduction(neurons, groups, draw(st.integers(0, layers - 1)), draw(st.floats(0.01, 1)), rank=rank)


@given(st.integers(1, 10**9), reductions(), ADAPTERS)
def test_assignments_come_out_as_they_went_in(number, reduction, adapter):
    found = Assignment.from_content(Assignment(number, 3, reduction, 0.01, adapter).to_content())
    assert found.round_number == number
    assert found.reduction.first_trained == reduction.first_trained
    assert found.reduction.examples == reduction.examples
    assert found.reduction.rank == reduction.rank
    assert (found.reduction.neurons == reduction.neurons).all()
    assert (found.reduction.groups == reduction.groups).all()
    assert same(found.adapter, adapter)


@given(reductions(), st.integers(1, 8), st.data())
def test_means_of_lost_units_travel_and_count(reduction, width, data):
    assume(not reduction.is_whole)  # who lost nothing is sent nothing
    layers, groups = reduction.groups.shape
    numbers = {"elements": st.floats(-9, 9, width=32)}
    mean = MeanInputs(
        data.draw(npst.arrays(np.float32, (layers, groups * width), **numbers)),
        data.draw(npst.arrays(np.float32, reduction.neurons.shape, **numbers)),
    )
    content = Assignment(1, 3, replace(reduction, mean=mean), 0.0, {}).to_content()
    found = Assignment.from_content(content).reduction.mean
    lost = np.repeat(~reduction.groups, width, axis=1)
    assert (found.queries == np.where(lost, mean.queries, 0)).all()
    assert (found.neurons == np.where(reduction.neurons, 0, mean.neurons)).all()
    arrays = content.array_records["mean"].values()
    assert sum(array.numpy().size for array in arrays) == lost.sum() + (~reduction.neurons).sum()
    bare = Assignment(1, 3, reduction, 0.0, {}).to_content()
    assert adapter_bytes(bare) == 0
    assert adapter_bytes(content) >= 4 * int(lost.sum() + (~reduction.neurons).sum())
    assert Assignment.from_content(bare).reduction.mean is None


@given(ADAPTERS, st.floats(0, 1e30), WORK)
def test_updates_come_out_as_they_went_in(adapter, loss, work):
    found = Update.from_content(
        Update(7, 3, adapter, loss, tuple(work)).to_content(), asked(adapter, len(work))
    )
    assert (found.client, found.round_number) == (7, 3)
    assert same(found.matrices, adapter)
    assert found.loss == loss
    assert found.work == tuple(work)


@given(ADAPTERS)
def test_the_air_carries_the_matrices_and_little_more(adapter):
    content = Update(7, 3, adapter, 1.0, (Workload(1, 1.0, 1.0),)).to_content()
    values = sum(matrix.nbytes for matrix in adapter.values())
    assert 0 <= adapter_bytes(content) - values <= 128 + len(JOINED)


MATRIX = Array(np.ones((2, 2), dtype=np.float32))
ORIGIN = ConfigRecord({"client": 7, "round": 3})
METRICS = {"loss": 1.0, "rows": [4], "length": [60.0], "labels": [8.0]}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({}, "not an update"),
        ({"adapter": ArrayRecord({"a": MATRIX})}, "not an update"),
        ({"metrics": MetricRecord(METRICS)}, "not an update"),
        ({"metrics": MetricRecord(METRICS), "adapter": MetricRecord({})}, "not an update"),
        ({"metrics": MetricRecord({"loss": 1.0})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"loss": [1.0, 2.0]})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"rows": 4})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"rows": [4, 4]})}, "another number of steps than 1"),
        ({"metrics": MetricRecord(METRICS | {"labels": [8.0, 8.0]})}, "not an update"),
        ({"metrics": MetricRecord(METRICS), "origin": MetricRecord({})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"rows": [float("nan")]})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"rows": [float("inf")]})}, "not an update"),
        ({"metrics": MetricRecord(METRICS | {"rows": [-1]})}, "a training step without rows"),
        ({"metrics": MetricRecord(METRICS | {"length": [float("nan")]})}, "a training step without rows"),
        ({"metrics": MetricRecord(METRICS | {"labels": [float("inf")]})}, "a training step without rows"),
        ({"metrics": MetricRecord(METRICS | {"loss": float("nan")})}, "a training loss that is"),
    ],
)
def test_a_reply_that_is_no_update_is_refused(records, expected):
    if "metrics" in records and expected != "not an update":
        records = records | {"adapter": ArrayRecord({"a": MATRIX})}
    elif "metrics" in records and len(records["metrics"]) == len(METRICS) and records["metrics"] != METRICS:
        records = {"adapter": ArrayRecord({"a": MATRIX})} | records
    with pytest.raises(AirtuneError, match=expected):
        Update.from_content(RecordDict({"origin": ORIGIN} | records), asked({"a": MATRIX.numpy()}))


def reply(adapter: ArrayRecord) -> RecordDict:
    return RecordDict({"adapter": adapter, "metrics": MetricRecord(METRICS), "origin": ORIGIN})


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        Array(np.ones(4)),
        Array(np.ones(4, dtype=np.int32)),
        Array(np.ones(3, dtype=np.float32)),
        Array(np.ones(40, dtype=np.float32)),
        Array(np.ones((2, 2), dtype=np.float32)),
        Array(np.array([["a"]])),
        Array("float32", (4,), "numpy.ndarray", b"no array at all"),
        Array("float32", (4,), "numpy.ndarray", b""),
        Array("float32", (4,), "numpy.ndarray", bytes(144)),
        # A header that promises terabytes: whoever reads it sets them aside first.
        Array("float32", (4,), "numpy.ndarray", header((10**12,)) + bytes(16)),
    ],
)
def test_arrays_of_another_kind_are_refused(array):
    content = reply(ArrayRecord({JOINED: array}))
    with pytest.raises(AirtuneError, match="an update that is not the 4 numbers in float32 that were asked"):
        Update.from_content(content, asked({"a": MATRIX.numpy()}))


def test_arrays_that_nobody_asked_for_are_refused():
    one = asked({"a": MATRIX.numpy()})
    with pytest.raises(AirtuneError, match="an update with an array b that was not asked for"):
        Update.from_content(reply(ArrayRecord({JOINED: Array(np.ones(4)), "b": MATRIX})), one)
    with pytest.raises(AirtuneError, match="an update that is not the 4 numbers"):
        Update.from_content(reply(ArrayRecord({})), one)
