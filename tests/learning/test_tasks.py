"""Tasks: the formats as published, and the cut into training, calibration and test data."""

import csv
import json
import os
import re
from pathlib import Path

import pytest

from airtune.errors import InputError
from airtune.learning.tasks import load_task
from airtune.scenario import Task

DATA = Path(os.environ.get("AIRTUNE_DATA", "no-data-given"))  # real files: gsm8k/, yahoo_answers/


def write_jsonl(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def gsm8k_folder(folder: Path, train: int = 40, test: int = 10) -> str:
    for split, count in (("train", train), ("test", test)):
        write_jsonl(
            folder / f"{split}.jsonl",
            [
                {"question": f"{split} {n}: 1+{n}?", "answer": f"It is\n1+{n}={n + 1}.\n#### {n + 1}"}
                for n in range(count)
            ],
        )
    return str(folder)


def yahoo_folder(folder: Path, rows: list[list[str]]) -> str:
    for split in ("train", "test"):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    return str(folder)


def test_parts_have_nothing_in_common_and_use_all_there_is(tmp_path):
    data = load_task(Task(name="gsm8k", data=gsm8k_folder(tmp_path), calibration_examples=8), 0)
    assert (len(data.train), len(data.calibration), len(data.test)) == (32, 8, 10)
    assert len({*data.train, *data.calibration, *data.test}) == 50
    assert all(example.prompt.startswith("Question: test") for example in data.test)
    assert not any(example.prompt.startswith("Question: test") for example in data.train + data.calibration)


def test_limits_hold_and_seeds_matter(tmp_path):
    task = Task(
        name="gsm8k", data=gsm8k_folder(tmp_path), train_examples=5, calibration_examples=4, test_examples=3
    )
    data = load_task(task, 0)
    assert (len(data.train), len(data.calibration), len(data.test)) == (5, 4, 3)
    assert data == load_task(task, 0)
    assert data != load_task(task, 1)
    longer = load_task(task.model_copy(update={"train_examples": 9}), 0)
    assert longer.train[:5] == data.train
    assert longer.calibration == data.calibration


def test_too_few_examples_are_an_error(tmp_path):
    task = Task(name="gsm8k", data=gsm8k_folder(tmp_path, train=4), calibration_examples=4)
    with pytest.raises(InputError, match="found 4 training examples, expected more than the 4 of"):
        load_task(task, 0)


def test_gsm8k_format(tmp_path):
    data = load_task(Task(name="gsm8k", data=gsm8k_folder(tmp_path)), 0)
    example = next(example for example in data.test if " 7:" in example.prompt)
    assert example.prompt == "Question: test 7: 1+7?\nAnswer:"
    assert example.response == " It is\n1+7=8.\n#### 8"
    assert example.label == "2"


YAHOO = [
    ["5", 'why doesn\'t it "work"?', r"first line\nsecond line", r"Turn it on.\n\nThen off."],
    ["10", "who, then?", "", "Nobody"],
    ["1", "no answer here?", "", ""],
]


def test_yahoo_topic_format(tmp_path):
    task = Task(name="yahoo_answers", data=yahoo_folder(tmp_path, YAHOO * 3), calibration_examples=4)
    found = {(e.prompt, e.response, e.label) for e in load_task(task, 0).test}
    assert found == {
        ('Question: why doesn\'t it "work"?\nfirst line\nsecond line\nTopic:', " Computers & Internet", "5"),
        ("Question: who, then?\nTopic:", " Politics & Government", "10"),
        ("Question: no answer here?\nTopic:", " Society & Culture", "1"),
    }


def test_yahoo_answer_format(tmp_path):
    folder = yahoo_folder(tmp_path, YAHOO * 3)
    task = Task(name="yahoo_answers", data=folder, target="answer", calibration_examples=4)
    data = load_task(task, 0)
    assert {(e.prompt.split("\n")[-2], e.response, e.label) for e in data.test} == {
        ("second line", " Turn it on.\n\nThen off.", "5"),
        ("Question: who, then?", " Nobody", "10"),
    }
    assert (len(data.test), len(data.train) + len(data.calibration)) == (6, 6)


def test_own_text_is_taken_as_it_stands(tmp_path):
    records = [
        {"prompt": f"{n} ", "response": f"\n{n} ", "label": [n % 3, str(n % 3)][n % 2]} for n in range(40)
    ]
    write_jsonl(tmp_path / "text.jsonl", records)
    data = load_task(Task(name="jsonl", data=str(tmp_path / "text.jsonl")), 0)
    everything = data.train + data.calibration + data.test
    assert {(e.prompt, e.response, e.label) for e in everything} == {
        (record["prompt"], record["response"], str(record["label"])) for record in records
    }
    assert {e.prompt for e in data.test} == {"0 ", "10 ", "20 ", "30 "}


def test_own_text_in_two_files(tmp_path):
    for split, count in (("train", 30), ("test", 6)):
        write_jsonl(
            tmp_path / f"{split}.jsonl", [{"prompt": split, "response": str(n)} for n in range(count)]
        )
    data = load_task(Task(name="jsonl", data=str(tmp_path), calibration_examples=5), 0)
    assert (len(data.train), len(data.calibration), len(data.test)) == (25, 5, 6)
    assert {example.prompt for example in data.test} == {"test"}
    assert {example.label for example in data.train} == {""}


def test_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    lines = [json.dumps({"prompt": "a", "response": str(n)}) + "\r\n\r\n" for n in range(20)]
    (tmp_path / "text.jsonl").write_bytes(b"\xef\xbb\xbf" + "".join(lines).encode())
    data = load_task(Task(name="jsonl", data=str(tmp_path / "text.jsonl"), calibration_examples=4), 0)
    assert (len(data.train), len(data.test)) == (14, 2)


@pytest.mark.skipif(not DATA.is_dir(), reason="no folder of original data (AIRTUNE_DATA)")
class TestOriginalData:
    def test_gsm8k(self):
        data = load_task(Task(name="gsm8k", data=str(DATA / "gsm8k")), 0)
        assert (len(data.train), len(data.calibration), len(data.test)) == (2000, 32, 64)
        assert all(re.search(r"\n#### -?[\d,.]+$", example.response) for example in data.train + data.test)
        assert {example.label for example in data.train} <= {str(steps) for steps in range(1, 12)}

    @pytest.mark.parametrize("target", ["topic", "answer"])
    def test_yahoo_answers(self, target):
        task = Task(name="yahoo_answers", data=str(DATA / "yahoo_answers"), target=target, test_examples=5000)
        data = load_task(task, 0)
        assert len(data.train) > 1800
        assert 2300 < len(data.test) <= 2400
        assert {example.label for example in data.train} == {str(number) for number in range(1, 11)}
        names = (DATA / "yahoo_answers" / "classes.txt").read_text().split("\n")
        if target == "topic":
            assert all(e.response == f" {names[int(e.label) - 1]}" for e in data.train)
        assert not any("\\n" in e.prompt for e in data.train)
