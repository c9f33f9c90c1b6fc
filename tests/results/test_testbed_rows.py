"""testbed.csv, and what is said of it."""

import math
from dataclasses import asdict, replace

import pytest

from airtune import InputError
from airtune.results.testbed_rows import (
    ROWS_FILE,
    Row,
    median_error,
    print_rows,
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


def test_a_round_that_was_not_measured_is_named():
    lines = rows_lines([replace(row, round=2 * row.round) for row in ROWS])
    assert [line for line in lines if "not measured" in line] == [
        "round 1: not measured",
        "round 3: not measured",
    ]


def test_a_folder_without_a_measured_round_says_so(tmp_path, capsys):
    print_rows(tmp_path)
    assert capsys.readouterr().out == "no round was measured to its end\n"


def test_rows_come_back_as_they_were_written(tmp_path):
    write_rows(tmp_path, ROWS)
    assert read_rows(tmp_path) == ROWS


def test_errors_are_medians_over_clients_and_rounds():
    assert median_error(ROWS, "upload") == pytest.approx(0.1)
    assert median_error(ROWS, "compute") == pytest.approx(0.05)
    assert rounds_s(ROWS) == {1: (50.0, 55.0), 2: (60.0, 55.0)}
    lines = rows_lines(ROWS)
    assert "upload 10.0%" in lines[0]
    assert lines[-1] == "all rounds: predicted 110.0 s, measured 110.0 s (+0.0%)"


def test_the_table_has_a_row_a_client_and_round():
    assert rows_table(ROWS).row_count == len(ROWS)


def test_nothing_is_off_by_a_share_of_nothing():
    rows = [replace(row, download_predicted_s=0.0) for row in ROWS]
    assert math.isnan(median_error(rows, "download"))
    assert median_error([*rows, ROW], "download") == pytest.approx(0.25)


def line(**changes) -> str:
    return ",".join(map(str, (asdict(ROW) | changes).values()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (line(upload_measured_s="x"), "line 5: upload_measured_s: found 'x'"),
        (line(upload_measured_s="nan"), "line 5: upload_measured_s: found 'nan', expected a finite number"),
        (line(round_predicted_s=-1), "line 5: round_predicted_s: found '-1', expected at least 0"),
        (line(cpu_s="1e300"), "line 5: cpu_s: found '1e300', expected at most 1000000000"),
        (line(bytes_up=1.5), "line 5: bytes_up: found '1.5'"),
        (line(round=0), "line 5: round: found '0', expected at least 1"),
        (line(client="<b>"), "line 5: client: found '<b>'"),
        (line(), "line 5: round: found round 1 again, expected each round of near once"),
        ("1,near", "line 5: found another number of values"),
        (line() + ",1", "line 5: found another number of values"),
        (b"\xff", "found no CSV in UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, expected):
    write_rows(tmp_path, ROWS)
    with (tmp_path / ROWS_FILE).open("ab") as file:
        file.write(change if isinstance(change, bytes) else change.encode())
    with pytest.raises(InputError) as error:
        read_rows(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / ROWS_FILE}: {expected}")


@pytest.mark.parametrize("text", ["", "round,client\n1,near\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / ROWS_FILE).write_text(text)
    with pytest.raises(InputError, match=ROWS_FILE):
        read_rows(tmp_path)


def test_a_file_without_rows_is_refused(tmp_path):
    write_rows(tmp_path, [])
    with pytest.raises(InputError, match="found no rows"):
        read_rows(tmp_path)
