"""Wrong data: whatever is in the files, one line says which file, where, and what was expected."""

import csv
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune.errors import InputError
from airtune.learning.tasks import load_task
from airtune.scenario import Task


def refused(task: Task) -> str:
    with pytest.raises(InputError) as error:
        load_task(task, 0)
    assert "\n" not in str(error.value)
    return str(error.value)


WRONG_JSONL = {
    "empty": (b"", "found no records"),
    "blank": (b"\n \n", "found no records"),
    "cut": (b'{"prompt": "a", "response": "b"}\n{"prompt": "a", "resp', "line 2: found"),
    "not an object": (b'["prompt"]', "line 1: found ['prompt'], expected a JSON object"),
    "missing": (b'{"prompt": "a"}', "line 1, response: found nothing, expected text"),
    "number": (b'{"prompt": 3, "response": "b"}', "line 1, prompt: found 3"),
    "not a number": (b'{"prompt": NaN, "response": "b"}', "line 1, prompt: found nan"),
    "blank text": (b'{"prompt": "a", "response": " "}', "line 1, response: found ' '"),
    "list label": (b'{"prompt": "a", "response": "b", "label": [1]}', "line 1, label: found [1]"),
    "true label": (b'{"prompt": "a", "response": "b", "label": true}', "line 1, label: found True"),
    "half a surrogate": (rb'{"prompt": "\ud800", "response": "b"}', "line 1, prompt: found half"),
    "latin-1": (
        b'{"prompt": "a", "response": "b"}\n{"prompt": "\xe9"}',
        "line 2: found bytes that are not UTF-8",
    ),
    "deep": (b"[" * 200_000, "line 1: found"),
    "huge number": (b'{"prompt": ' + b"9" * 5000 + b"}", "line 1: found"),
    "binary": (bytes(range(256)), "line 1: found"),
}


@pytest.mark.parametrize("case", WRONG_JSONL)
def test_wrong_jsonl_names_file_and_line(tmp_path, case):
    content, expected = WRONG_JSONL[case]
    path = tmp_path / "text.jsonl"
    path.write_bytes(content)
    text = refused(Task(name="jsonl", data=str(path)))
    assert text.startswith(f"{path}: ")
    assert expected in text


WRONG_CSV = {
    "empty": (b"", "found no rows"),
    "class": (b'"11","a","b","c"\n', "line 1, class: found '11', expected a number from 1 to 10"),
    "header": (b"class,title,content,answer\n", "line 1, class: found 'class'"),
    "few": (b'"1","a","b"\n', "line 1: found 3 fields, expected 4 fields: class, title, content, answer"),
    "many": (b'"1","a","b","c","d"\n', "line 1: found 5 fields"),
    "cut": (b'"1","a","b","c"\n"2","a","b', "line 2: found"),
    "latin-1": (b'"1","a","b","c"\n"2","\xe9","b","c"\n', "line 2: found bytes that are not UTF-8"),
    "long": (b'"1","a","b","' + b"c" * 200_000 + b'"\n', "line 1: found"),
    "quotes": (b'"1","a" b,"b","c"\n', "line 1: found"),
}


@pytest.mark.parametrize("case", WRONG_CSV)
def test_wrong_csv_names_file_and_line(tmp_path, case):
    content, expected = WRONG_CSV[case]
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    text = refused(Task(name="yahoo_answers", data=str(tmp_path)))
    assert text.startswith(f"{path}: ")
    assert expected in text


@given(cut=st.integers(0, 600))
def test_a_csv_cut_anywhere_is_refused_or_ends_with_a_whole_row(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    for split in ("train", "test"):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            rows = [["3", f"Question {n}?", "more", f"Answer {n}"] for n in range(15)]
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    path = folder / "train.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    task = Task(name="yahoo_answers", data=str(folder), calibration_examples=4, target="answer")
    # A row that ends after its last comma is whole as well: its answer is empty, so it is left out.
    whole_rows = re.fullmatch(rb'("3","[^"]*","more","[^"]*"(\r\n|\r|$))*("3","[^"]*","more",)?', whole[:cut])
    rows = whole[:cut].count(b"Answer")
    if whole_rows and rows > 4:
        assert len(load_task(task, 0).train) == rows - 4
    else:
        refused(task)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for name, file in (("gsm8k", "train.jsonl"), ("yahoo_answers", "train.csv"), ("jsonl", "train.jsonl")):
        (folder / file).write_bytes(content)
        refused(Task(name=name, data=str(folder)))


@pytest.mark.parametrize("name", ["gsm8k", "yahoo_answers", "jsonl"])
@pytest.mark.parametrize("data", ["nowhere", "~nobody/x", "a" * 5000, "a\0b"])
def test_data_that_is_not_there(name, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected a folder with train" in refused(Task(name=name, data=data))


def test_folders_in_the_wrong_place(tmp_path):
    (tmp_path / "train.jsonl").mkdir()
    assert "train.jsonl: found IsADirectoryError" in refused(Task(name="gsm8k", data=str(tmp_path)))
    assert "train.csv: found FileNotFoundError" in refused(Task(name="yahoo_answers", data=str(tmp_path)))
    assert "task.data: found nothing" in refused(Task(name="jsonl"))


@pytest.mark.parametrize("name", ["gsm8k", "yahoo_answers"])
def test_without_a_hub_the_user_is_told_of_local_files(name, tmp_path):
    code = f"""
from airtune.errors import InputError
from airtune.learning.tasks import load_task
from airtune.scenario import Task
try:
    load_task(Task(name="{name}"), 0)
except InputError as error:
    print(error)
"""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=offline, check=True
    )
    assert done.stdout.startswith("scenario: task.data: found no files, and ")
    assert "--data FOLDER" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
