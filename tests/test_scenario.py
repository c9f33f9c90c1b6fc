"""Scenarios: what is read is what was written, and every mistake is one line in the user's words."""

import copy
import math
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune.devices import CATALOGUE
from airtune.errors import InputError
from airtune.methods import METHODS
from airtune.scenario import CRITERIA, PROJECTIONS, TASKS, Scenario
from airtune.scenario_file import configured_scenario, dump_scenario, load_scenario, parse_scenario

EXAMPLES = Path(__file__).parents[1] / "examples"
MINIMAL = {"clients": [{"id": "a", "device": "jetson-nano", "distance": 300}]}
JARGON = ("Input", "Tuple", "String should", "Keys should", "union", "NoneType", "Error", "dict", "pydantic")


def changed(changes: dict) -> str:
    """The minimal scenario with `{"path.to.field": value}` put in."""
    fields = copy.deepcopy(MINIMAL)
    for place, value in changes.items():
        part, *words = [int(word) if word.isdigit() else word for word in place.split(".")]
        target = fields
        for word in words:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
            part = word
        target[part] = value
    return yaml.safe_dump(fields)


def refused(text: str) -> str:
    with pytest.raises(InputError) as error:
        parse_scenario(text, "my.yaml")
    message = str(error.value)
    assert message.startswith("my.yaml: ")
    assert ": found " in message or message.startswith("my.yaml: found ")
    assert ", expected " in message
    assert message.isprintable()
    assert len(message) < 400
    assert not any(word in message for word in JARGON), message
    return message


# -- What is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_examples_are_read_and_dumped(name):
    scenario = load_scenario(EXAMPLES / name)
    assert parse_scenario(dump_scenario(scenario)) == scenario
    assert sum(member.weight for member in scenario.members()) == pytest.approx(1)


def test_the_template_spells_out_the_defaults(tmp_path):
    import airtune

    template = load_scenario(Path(airtune.__file__).parent / "template.yaml")
    defaults = Scenario.model_validate({"clients": template.clients})
    assert template == defaults


POSITIVE = st.floats(min_value=1e-3, max_value=1e12)
NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")


@st.composite
def groups(draw, identifier: str, cells: list[str]) -> dict:
    near, far = sorted(draw(st.tuples(POSITIVE, POSITIVE)))
    powered = {"name": NAMES, "throughput": POSITIVE, "memory": POSITIVE, "power": st.none() | POSITIVE}
    custom = st.fixed_dictionaries(powered)
    fields = {
        "id": identifier,
        "count": draw(st.integers(1, 4)),
        "device": draw(st.one_of(st.sampled_from(list(CATALOGUE)), custom)),
        "cell": draw(st.sampled_from(cells)),
        "memory": draw(st.none() | POSITIVE),
        "power": draw(st.none() | POSITIVE),
        "overhead": draw(st.floats(0, 1e9)),
        "labels": draw(st.lists(st.text(max_size=8) | st.integers(-99, 99), min_size=1, max_size=3)),
    }
    place = draw(st.sampled_from(["distance", "range", "link"]))
    fields["link" if place == "link" else "distance"] = [near, far] if place == "range" else near
    return fields


@st.composite
def scenarios(draw) -> dict:
    cells = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    # Ids that end in a letter cannot meet those of a group's members.
    ids = draw(st.lists(NAMES.map(lambda name: name[:20] + "x"), min_size=1, max_size=4, unique=True))
    return {
        "name": draw(NAMES),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "method": draw(st.sampled_from(list(METHODS))),
        "reduction": draw(st.sampled_from(["examples", "depth", "mixed", "width"])),
        "criterion": draw(st.sampled_from([one for one in CRITERIA if one != "lora_gradient"])),
        "prune_max": draw(st.floats(0, 1)),
        "rounds": draw(st.integers(1, 1000)),
        "model": {"name": draw(st.text(min_size=1).filter(lambda text: "\0" not in text))},
        "lora": {
            "rank": draw(st.integers(1, 64) | st.just("full")),
            "projections": draw(st.lists(st.sampled_from(PROJECTIONS), min_size=1, max_size=7, unique=True)),
        },
        "task": {"name": draw(st.sampled_from(TASKS)), "data": draw(st.none() | st.just("/some/data"))},
        "partition": {
            "kind": draw(st.sampled_from(["iid", "dirichlet", "labels"])),
            "alpha": draw(POSITIVE),
        },
        "training": {"learning_rate": draw(st.floats(1e-12, 1))},
        "payload": {
            "format": draw(st.sampled_from(["float32", "bfloat16", "int8", "int4"])),
            "keep": draw(st.floats(1e-6, 1)),
        },
        "convergence": {"exponent": draw(st.none() | st.floats(1, 9))},
        "radio": {"shadowing": draw(st.floats(0, 50)), "noise": draw(st.floats(-250, 0))},
        "cells": [{"id": cell, "bandwidth": draw(POSITIVE), "downlink": draw(POSITIVE)} for cell in cells],
        "clients": [draw(groups(identifier, cells)) for identifier in ids],
    }


@given(scenarios())
def test_a_dumped_scenario_is_the_same_scenario(fields):
    scenario = Scenario.model_validate(fields)
    text = dump_scenario(scenario)
    assert parse_scenario(text) == scenario
    assert dump_scenario(parse_scenario(text)) == text
    members = scenario.members()
    assert len({member.id for member in members}) == len(members)
    assert math.isclose(sum(member.weight for member in members), 1)


def test_units_may_be_written_out():
    text = changed(
        {
            "cells": [{"bandwidth": "5 MHz"}],
            "clients.0.distance": ["0.2 km", "600 m"],
            "clients.0.memory": "1 GiB",
        }
    )
    scenario = parse_scenario(text)
    assert scenario.cells[0].bandwidth == 5e6
    assert scenario.clients[0].distance == (200, 600)
    assert scenario.members()[0].memory == 2**30


# -- Members ------------------------------------------------------------------------------------------

FLEET = """
seed: {seed}
cells: [{{id: north}}, {{id: south, bandwidth: 5 MHz}}]
clients:
  - {{id: near, count: 3, device: jetson-nano, cell: south, distance: [10, 90], share: 0.2, labels: [1, x]}}
  - {{id: far, device: {{name: mine, throughput: 5 GFLOP/s, memory: 2 GB}}, distance: 700 m, cell: north}}
  - {{id: wired, device: laptop-2-core, link: 20 Mbit/s, cell: north, memory: 1 GB}}
"""


def test_members_unfold_their_groups():
    members = parse_scenario(FLEET.format(seed=0)).members()
    assert [member.id for member in members] == ["near-0", "near-1", "near-2", "far", "wired"]
    assert [member.cell for member in members] == [1, 1, 1, 0, 0]
    assert [member.weight for member in members] == pytest.approx([0.2] * 5)
    assert members[0].labels == ("1", "x")
    assert members[0].memory == CATALOGUE["jetson-nano"].memory_bytes
    assert (members[3].device.flops_per_s, members[3].memory) == (5e9, 2e9)
    assert (members[4].memory, members[4].distance, members[4].link) == (1e9, None, 20e6)


def test_distances_come_from_the_seed_and_the_client_alone():
    distances = [member.distance for member in parse_scenario(FLEET.format(seed=0)).members()[:3]]
    assert all(10 <= distance <= 90 for distance in distances)
    assert len(set(distances)) == 3
    fewer = parse_scenario(FLEET.format(seed=0).replace("count: 3", "count: 2")).members()
    assert [member.distance for member in fewer[:2]] == distances[:2]
    other = parse_scenario(FLEET.format(seed=1)).members()
    assert not np.isclose([member.distance for member in other[:3]], distances).any()


# -- Files and changes --------------------------------------------------------------------------------


def test_a_data_path_starts_at_the_scenario_s_folder(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "my.yaml"
    file.parent.mkdir()
    file.write_text(changed({"task.data": "../text.jsonl"}))
    monkeypatch.chdir("/")
    assert load_scenario(file).task.data == str(tmp_path / "text.jsonl")
    monkeypatch.chdir(tmp_path)
    assert load_scenario("deep/my.yaml").task.data == str(tmp_path / "text.jsonl")
    assert load_scenario(file, data="other").task.data == str(tmp_path / "other")
    file.write_text(changed({"task.data": "~/text.jsonl"}))
    assert load_scenario(file).task.data == os.path.expanduser("~/text.jsonl")
    file.write_text(changed({"task.data": "~nobody-of-this-name/text"}))
    assert load_scenario(file).task.data == str(file.parent / "~nobody-of-this-name/text")


def test_changes_replace_fields():
    text = changed({"task": {"name": "gsm8k", "train_examples": 5}})
    scenario = parse_scenario(text, method="fedit", rounds=9, task="yahoo_answers", data=None)
    assert (scenario.method, scenario.rounds) == ("fedit", 9)
    assert (scenario.task.name, scenario.task.train_examples) == ("yahoo_answers", 5)
    assert parse_scenario(changed({}), task="gsm8k").task.name == "gsm8k"
    with pytest.raises(InputError, match="rounds: found 0, expected at least 1"):
        parse_scenario(text, rounds=0)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.yaml", tmp_path, tmp_path / "bytes.yaml", "a\0b"):
        with pytest.raises(InputError, match="expected a readable YAML file in UTF-8"):
            load_scenario(path)


# -- Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"roudns": 3}, "roudns: found an unknown field"),
        ({"task.nmae": 3}, "task.nmae: found an unknown field"),
        ({"a\nb": 3}, r"'a\nb': found an unknown field"),
        ({"str": 3}, "str: found an unknown field"),
        ({"clients": None}, "clients: found nothing, expected a list"),
        ({"clients": []}, "clients: found an empty list, expected at least 1"),
        ({"clients": {"a": 1}}, "clients: found a mapping, expected a list"),
        ({"clients": [3]}, "clients.0: found 3, expected a mapping of fields"),
        ({"cells": []}, "cells: found an empty list, expected at least 1"),
        ({"cells": [{"id": "b"}]}, "clients.0.cell: found 'cell-0', expected one of b"),
        ({"cells": [{}, {}]}, "cells: found the id cell-0 twice"),
        ({"cells": [{"bandwidth": "3 m"}]}, "cells.0.bandwidth: found '3 m', expected a number in Hz"),
        ({"cells": [{"bandwidth": -3}]}, "cells.0.bandwidth: found -3, expected above 0"),
        ({"rounds": "six"}, "rounds: found 'six', expected a whole number"),
        ({"rounds": 1.5}, "rounds: found 1.5, expected a whole number"),
        ({"rounds": True}, "rounds: found true, expected a whole number"),
        ({"rounds": [1]}, "rounds: found a list, expected a whole number"),
        ({"rounds": -1}, "rounds: found -1, expected at least 1"),
        ({"rounds": 10**10}, "rounds: found 10000000000, expected at most 1000000000"),
        ({"rounds": 10**30}, "line 5, column 9: found a whole number beyond 64 bits"),
        ({"seed": -1}, "seed: found -1, expected at least 0"),
        ({"prune_max": 1.5}, "prune_max: found 1.5, expected at most 1"),
        ({"prune_max": math.nan}, "prune_max: found nan, expected a number"),
        ({"lora.rank": 0}, "lora.rank: found 0, expected full, or a whole number from 1 to 1024"),
        ({"lora.rank": "all"}, "lora.rank: found 'all', expected full, or a whole number"),
        ({"lora.rank": "full", "lora.train_a": False}, "lora.train_a: found false, expected true"),
        (
            {"lora.rank": "full", "criterion": "lora_gradient", "reduction": "width"},
            "criterion: found 'lora_gradient', expected another criterion",
        ),
        ({"lora.alpha": True}, "lora.alpha: found true, expected a number"),
        ({"lora.alpha": math.inf}, "lora.alpha: found inf, expected a number"),
        ({"lora.projections": []}, "lora.projections: found an empty list, expected at least 1"),
        ({"lora.projections": ["q_proj", "q_proj"]}, "lora.projections: found q_proj twice"),
        ({"criterion": "best"}, "criterion: found 'best', expected 'taylor', 'lora_gradient'"),
        (
            {"criterion": "lora_gradient", "reduction": "width", "lora.projections": ["q_proj", "v_proj"]},
            "lora.projections: found q_proj, v_proj, expected some of attention and some of the MLP",
        ),
        ({"lora.projections": ["q"]}, "lora.projections.0: found 'q', expected 'q_proj', 'k_proj'"),
        ({"lora.train_a": "no"}, "lora.train_a: found 'no', expected true or false"),
        ({"payload.format": "int3"}, "payload.format: found 'int3', expected 'float32', 'bfloat16'"),
        ({"payload.keep": 0}, "payload.keep: found 0, expected above 0"),
        ({"payload.keep": "all"}, "payload.keep: found 'all', expected a number"),
        ({"payload.keep": 1.5}, "payload.keep: found 1.5, expected at most 1"),
        ({"privacy": {"noise": 1}}, "privacy.clip: found nothing, expected a value"),
        ({"privacy": {"clip": 1}}, "privacy.noise: found nothing, expected a value"),
        ({"privacy": {"clip": 0, "noise": 1}}, "privacy.clip: found 0, expected at least 1e-09"),
        ({"privacy": {"clip": 1, "noise": 0}}, "privacy.noise: found 0, expected at least 1e-06"),
        ({"privacy": {"clip": 1, "noise": "loud"}}, "privacy.noise: found 'loud', expected a number"),
        ({"privacy": {"clip": 1, "noise": 1, "delta": 1}}, "privacy.delta: found 1, expected below 1"),
        ({"privacy": 3}, "privacy: found 3, expected a mapping of fields"),
        ({"lora": None}, "lora: found nothing, expected a mapping of fields"),
        ({"method": "fedavg"}, "method: found 'fedavg', expected one of joint, joint-online"),
        ({"task": "gsm8k"}, "task: found 'gsm8k', expected a mapping of fields"),
        ({"task.name": "gsm"}, "task.name: found 'gsm', expected 'gsm_symbolic', 'gsm8k'"),
        ({"task.data": "~a\0"}, r"task.data: found '~a\x00', expected a path"),
        ({"model.name": ""}, "model.name: found '', expected a name or a path"),
        ({"radio.client_power": "200 mW"}, "radio.client_power: found '200 mW', expected a number in dBm"),
        ({"radio.shadowing": -1}, "radio.shadowing: found -1, expected at least 0"),
        ({"partition.kind": "labels"}, "clients.0.labels: found nothing, expected labels"),
        ({"clients.0.id": "a b"}, "clients.0.id: found 'a b', expected at most 64 letters, digits"),
        ({"clients.0.id": "a\n"}, r"clients.0.id: found 'a\n', expected at most 64 letters, digits"),
        ({"clients.0.id": 1}, "clients.0.id: found 1, expected text"),
        ({"clients.0.count": 10**9}, "clients.0.count: found 1000000000, expected at most 10000"),
        ({"clients.0.device": "nano"}, "clients.0.device: found 'nano', expected one of phone-778g"),
        ({"clients.0.device": []}, "clients.0.device: found an empty list, expected one of phone-778g"),
        (
            {"clients.0.device": {"name": "x", "memory": 1}},
            "device.throughput: found nothing, expected a value",
        ),
        (
            {"clients.0.device": {"name": "x", "memory": 1, "throughput": "3 GB"}},
            "clients.0.device.throughput: found '3 GB', expected a number in FLOP/s",
        ),
        ({"clients.0.distance": "3 Hz"}, "clients.0.distance: found '3 Hz', expected a number in m"),
        ({"clients.0.distance": 0}, "clients.0.distance: found 0, expected above 0"),
        (
            {"clients.0.distance": [1]},
            "clients.0.distance: found a list, expected one distance, or a list of two",
        ),
        (
            {"clients.0.distance": [600, 200]},
            "distance: found 600 m to 200 m, expected a range from near to far",
        ),
        ({"clients.0.distance": [1, "2 s"]}, "clients.0.distance.1: found '2 s', expected a number in m"),
        ({"clients.0.distance": None}, "clients.0.distance: found nothing, expected a distance, or a link"),
        (
            {"clients.0.link": 1e6},
            "clients.0.link: found 1000000.0, expected no link where there is a distance",
        ),
        ({"clients.0.share": 0.5}, "clients: found shares that sum to 0.5, expected shares that sum to 1"),
        ({"clients.0.share": "50%"}, "clients.0.share: found '50%', expected a number"),
        ({"clients.0.labels": []}, "clients.0.labels: found an empty list, expected at least 1"),
        ({"clients.0.labels": [True]}, "clients.0.labels.0: found true, expected text or a whole number"),
        ({"rounds": "six", "task.nmae": 3}, "rounds: found 'six'"),
    ],
)
def test_a_mistake_is_one_line_with_field_found_and_expected(changes, expected):
    assert f": {expected}" in refused(changed(changes)) or f".{expected}" in refused(changed(changes))


def test_ids_are_distinct_after_unfolding():
    group = {"device": "jetson-nano", "distance": 3}
    twice = {"clients": [{"id": "a", **group}, {"id": "a", **group}]}
    assert "clients: found the id a twice" in refused(changed(twice))
    unfolded = {"clients": [{"id": "a", "count": 2, **group}, {"id": "a-0", **group}]}
    assert "clients: found the id a-0 twice" in refused(changed(unfolded))


def test_shares_leave_something_to_clients_without_one():
    group = {"device": "jetson-nano", "distance": 3}
    text = changed({"clients": [{"id": "a", "count": 2, "share": 0.5, **group}, {"id": "b", **group}]})
    assert "clients: found shares that sum to 1, expected less than 1" in refused(text)


# -- YAML that is none, or more than plain ------------------------------------------------------------

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found nothing, expected a mapping of fields"),
        ("- 1", "found a list, expected a mapping of fields"),
        ("42", "found 42, expected a mapping of fields"),
        ("name: x", "clients: found nothing, expected a value"),
        ("seed: 1\nseed: 2", "line 2, column 1: found the key 'seed' twice"),
        ("task: {name: gsm8k, name: gsm8k}", "line 1, column 21: found the key 'name' twice"),
        ("1: 2", "line 1, column 1: found a key that is not text"),
        ("~: 2", "line 1, column 1: found a key that is not text"),
        ("[a]: b", "line 1, column 1: found a key that is not text"),
        ("task: {{a: 1}: b}", "line 1, column 8: found a key that is not text"),
        ("a: &a [*a]", "line 1, column 8: found an alias"),
        ("&a\nclients: [*a]", "line 2, column 11: found an alias"),
        ("x: &x {a: 1}\ny: {<<: *x}", "line 2, column 9: found an alias"),
        (LAUGHS, "line 2, column 8: found an alias"),
        ("name: !!python/object/apply:os.system [ls]", "line 1, column 7: found a tag"),
        ("name: !!binary aGVsbG8=", "line 1, column 7: found a tag"),
        ("!!set {a, b}", "line 1, column 1: found a tag"),
        ("seed: !!int foo", "line 1, column 7: found a tag"),
        ("seed: " + "9" * 5000, "found a value that cannot be read"),
        ("seed: 0x" + "f" * 5000, "line 1, column 7: found a whole number beyond 64 bits"),
        ('name: "\\ud800"', "found a value that cannot be read"),
        ("name: a\0", "found a control character"),
        ("a: " + "[" * 5000, "found lists or mappings nested too deeply"),
        ("a: " + "{a: " * 5000, "found lists or mappings nested too deeply"),
        ("a: [", "line 1, column 5: found '<stream end>'"),
        ("\tname: x", r"line 1, column 1: found character '\t' that cannot start any token"),
        ("a: b: c", "line 1, column 5: found mapping values are not allowed here"),
        ("a: 1\n---\na: 2", "line 2, column 1: found another document"),
    ],
)
def test_yaml_beyond_plain_values_is_refused(text, expected):
    assert f"my.yaml: {expected}" in refused(text)


def test_dates_are_text():
    assert parse_scenario(changed({}) + "\nname: 2001-02-30\n").name == "2001-02-30"


# -- Anything at all ----------------------------------------------------------------------------------


def read_or_refused(text: str) -> None:
    try:
        scenario = parse_scenario(text, "my.yaml")
    except InputError as error:
        message = str(error)
    else:
        assert parse_scenario(dump_scenario(scenario)) == scenario
        return
    assert message.isprintable()  # hence one line
    assert not any(word in message.rpartition(", expected ")[2] for word in JARGON), message


@given(st.text())
def test_any_text_is_read_or_refused(text):
    read_or_refused(text)


@given(st.text(alphabet="ab1:-[]{},&*!?|>'\"%@ \n\t~.<=#"))
def test_any_yaml_like_text_is_read_or_refused(text):
    read_or_refused(text)
    read_or_refused(yaml.safe_dump(MINIMAL) + text)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 10**18, 10**19, 10**400, 2**63]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["3 m", "10 MHz", "1e999", "nan", "joint", "tiny", "a", "cell-0", "jetson-nano"]),
    st.dates(),
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
    max_leaves=10,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The path of everything in a structure, its own first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deep for key, item in inner for deep in places(item, (*path, key)))]


def write(value: object) -> str:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data):
            return True

    return yaml.dump(value, Dumper=Plain, allow_unicode=True)


@given(st.dictionaries(st.sampled_from(list(Scenario.model_fields)), VALUES))
def test_any_structure_is_read_or_refused(fields):
    read_or_refused(write(fields))


@settings(max_examples=300)
@given(st.data())
def test_a_scenario_with_anything_anywhere_is_read_or_refused(data):
    fields = yaml.safe_load(dump_scenario(parse_scenario(FLEET.format(seed=0))))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(fields)[1:]))
        target = fields
        for key in path:
            target = target[key]
        if data.draw(st.booleans()):
            target[last] = data.draw(VALUES)
        elif isinstance(target, dict):
            target[data.draw(SCALARS)] = target.pop(last)
    read_or_refused(write(fields))


def test_a_flower_configuration_holds_a_scenario_or_names_its_file(tmp_path, monkeypatch):
    tiny = load_scenario(EXAMPLES / "tiny.yaml")
    assert configured_scenario(dump_scenario(tiny)) == tiny
    assert configured_scenario(str(EXAMPLES / "tiny.yaml")) == tiny
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"examples/tiny\.yaml: found No such file"):
        configured_scenario("examples/tiny.yaml")
    monkeypatch.syspath_prepend(str(EXAMPLES.parent))
    assert configured_scenario("examples/tiny.yaml") == tiny
