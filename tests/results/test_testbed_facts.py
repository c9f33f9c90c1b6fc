"""testbed.json, and what is said of it."""

import json

import pytest

from airtune import InputError
from airtune.results.testbed_facts import FACTS_FILE, ClientFacts, Facts

FACTS = Facts(
    factor=1.4,
    core_flops_per_s=133e9,
    reading_s=1.5,
    framing_down=1.12,
    framing_up=1.14,
    clients=[
        ClientFacts(id="near", cores=0.6, overhead_s=8.3),
        ClientFacts(id="far", cores=0.3, overhead_s=5.1),
    ],
)


def test_facts_come_back_as_they_were_written(tmp_path):
    FACTS.write(tmp_path)
    assert Facts.read(tmp_path) == FACTS


def test_sentences_name_the_client_that_flower_takes_longest_with():
    assert any("8.3 s a client (near)" in line for line in FACTS.lines())


def test_overhead_is_simulated_at_the_pace_of_everything_else():
    assert FACTS.simulated_overhead_s() == pytest.approx({0: 8.3 / 1.4, 1: 5.1 / 1.4})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"factor": 0.5}, "factor: found 0.5, expected at least 1"),
        ({"reading_s": float("nan")}, "reading_s: found nan, expected a finite number"),
        ({"framing_up": "1.1"}, "framing_up: found '1.1', expected "),
        ({"clients": []}, "clients: found an empty list, expected at least 1"),
        ({"clients": [{"id": "near", "cores": 2.0, "overhead_s": 1.0}]}, "clients.0.cores: found 2.0"),
        ({"more": 1}, "more: found an unknown field"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, expected):
    (tmp_path / FACTS_FILE).write_text(json.dumps(FACTS.model_dump() | changes))
    with pytest.raises(InputError) as error:
        Facts.read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / FACTS_FILE}: {expected}")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff", b"3"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / FACTS_FILE).write_bytes(text)
    with pytest.raises(InputError, match=FACTS_FILE):
        Facts.read(tmp_path)


def test_facts_of_other_clients_are_refused(tmp_path):
    FACTS.check_clients(["near", "far"], tmp_path)
    with pytest.raises(InputError, match="clients: found clients near, far, expected far, near"):
        FACTS.check_clients(["far", "near"], tmp_path)
