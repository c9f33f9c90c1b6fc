"""testbed.csv, and what is said of it."""

from dataclasses import replace

import pytest

from airtune import InputError
from airtune.testbed.rows import (
    FILE,
    Row,
    median_error,
    read_rows,
    rounds_s,
    rows_lines,
    rows_table,
    write_rows,
)

ROW = Row(
    round=1,
    client="near",
    download_predicted_s=4.0,
    download_measured_s=5.0,
    compute_predicted_s=20.0,
    compute_measured_s=21.0,
    upload_predicted_s=10.0,
    upload_measured_s=10.5,
    overhead_predicted_s=6.0,
    overhead_measured_s=5.5,
    round_predicted_s=40.0,
    round_measured_s=42.0,
    all_predicted_s=50.0,
    all_measured_s=55.0,
    bytes_down=1000,
    bytes_down_wire=1100,
    bytes_up=500,
    bytes_up_wire=520,
    cpu_s=6.0,
)
ROWS = [
    ROW,
    replace(ROW, client="far", upload_measured_s=12.0),
    replace(ROW, round=2, upload_measured_s=9.0, all_predicted_s=60.0, all_measured_s=55.0),
]


def test_rows_come_back_as_they_were_written(tmp_path):
    write_rows(tmp_path, ROWS)
    assert read_rows(tmp_path) == ROWS


def test_errors_are_medians_over_clients_and_rounds():
    assert median_error(ROWS, "upload") == pytest.approx(0.1)
    assert median_error(ROWS, "compute") == pytest.approx(0.05)
    assert rounds_s(ROWS) == [(50.0, 55.0), (60.0, 55.0)]
    lines = rows_lines(ROWS)
    assert "upload 10.0%" in lines[0]
    assert lines[-1] == "all rounds: predicted 110.0 s, measured 110.0 s (+0.0%)"


def test_the_table_has_a_row_a_client_and_round():
    assert rows_table(ROWS).row_count == len(ROWS)


@pytest.mark.parametrize(
    "change", [lambda text: "", lambda text: text[:-20], lambda text: text.replace("42", "x")]
)
def test_a_file_of_another_kind_is_refused(tmp_path, change):
    write_rows(tmp_path, ROWS)
    (tmp_path / FILE).write_text(change((tmp_path / FILE).read_text()))
    with pytest.raises(InputError, match=FILE):
        read_rows(tmp_path)
