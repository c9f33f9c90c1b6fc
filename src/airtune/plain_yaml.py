"""YAML cut down to what JSON can say: no aliases, no tags, no dates; keys are text and appear once.

So a document is never larger in memory than in its file, has no circles, and reads as it looks.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from airtune.errors import InputError, words

_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}
_TEXT = "tag:yaml.org,2002:str"
_LARGEST = 2**63 - 1


def read_plain_yaml(text: str, file: str | Path) -> Any:
    """The value that `text` describes: None, bool, int, float, str, and lists and dicts of them.

    Raises:
        InputError: it is not such a document; names line and column.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # PyYAML says "expected …, but found …" or "found …"; `InputError` says both words itself.
        found = (error.problem or "a mistake").rpartition("found ")[2]
    except yaml.reader.ReaderError:
        place, found = "", "a control character"
    except RecursionError:
        place, found = "", "lists or mappings nested too deeply"
    except ValueError:
        place, found = "", "a value that cannot be read"
    raise InputError(file, place, words(found), "valid YAML (without aliases and tags)")


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class has it)
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias", problem_mark=mark)
        if event.tag is not None:
            raise yaml.MarkedYAMLError(problem="a tag", problem_mark=mark)
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # a ValueError for half of a surrogate pair, which no file can hold
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != _TEXT:
                raise yaml.MarkedYAMLError(problem="a key that is not text", problem_mark=key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value!r} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if abs(value) > _LARGEST:
            raise yaml.MarkedYAMLError(problem="a whole number beyond 64 bits", problem_mark=node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
