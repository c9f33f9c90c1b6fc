"""Pydantic's complaints in the user's words: which field, what was found, what is expected."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from airtune.errors import InputError, words


class MisfitError(ValueError):
    """Fields that do not fit together: the one to change, what it is now, and what it should be."""

    def __init__(self, field: str, found: object, expected: str) -> None:
        super().__init__(expected)
        self.field, self.found = field, found


# What pydantic expects, in the user's words, by the type of its error.
_EXPECTED = {
    "missing": "a value",
    "extra_forbidden": "a field that this file may have",
    "model_type": "a mapping of fields",
    "tuple_type": "a list",
    "too_short": "at least {min_length}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text in Unicode",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags} as its {discriminator}",
    "union_tag_not_found": "a {discriminator}",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}


def first_error(file: str | Path, error: ValidationError, branches: tuple[str, ...] = ()) -> InputError:
    """The first problem of `error`; `branches` are pydantic's names for the branches of unions, no fields."""
    # A union reports every branch that fails; the deepest of its places is the one the user meant.
    problems = error.errors()
    begin = _words_of(problems[0], branches)
    first = max(
        (item for item in problems if _words_of(item, branches)[: len(begin)] == begin),
        key=lambda item: len(item["loc"]),
    )
    kind, context, place = first["type"], first.get("ctx", {}), _words_of(first, branches)
    found = words("an unknown field") if kind == "extra_forbidden" else shown(first["input"])
    if kind == "missing":
        found = shown(None)
    if kind != "value_error":
        expected = _EXPECTED[kind].format(**context) if kind in _EXPECTED else first["msg"]
        return InputError(file, ".".join(place), found, expected)
    misfit = context["error"]
    if isinstance(misfit, MisfitError):
        place, found = [*place, *filter(None, [misfit.field])], shown(misfit.found)
    return InputError(file, ".".join(place), found, str(misfit))


def _words_of(problem: Any, branches: tuple[str, ...]) -> list[str]:
    """A problem's place without the pieces that name a branch of a union rather than a field."""
    place = [str(word) for word in problem["loc"]]
    if problem["type"] == "extra_forbidden":  # the last word is the user's, whatever it looks like
        last = place.pop()
        last = last if re.fullmatch(r"[\w.-]{1,64}", last) else repr(last[:64])
        return [*_without_branches(place, branches), last]
    return _without_branches(place, branches)


def _without_branches(place: list[str], branches: tuple[str, ...]) -> list[str]:
    return [word for word in place if word not in branches and "[" not in word]


def shown(value: object) -> object:
    """A value as an error shows it: in the words of YAML, not of Python."""
    if value is None:
        return words("nothing")
    if isinstance(value, bool):
        return words(str(value).lower())
    if isinstance(value, list | tuple):
        return words("a list" if value else "an empty list")
    return words("a mapping") if isinstance(value, dict) else value
