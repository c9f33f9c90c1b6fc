"""What the parts of a scenario have in common: kinds of fields, and that unknown ones are errors."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from airtune.quantities import Number

MOST = 10**9  # of anything counted: beyond it a number is a slip of the keyboard


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("at most 64 letters, digits, dots, dashes and underscores, no space")
    return text


def _place(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("a name or a path")
    return text


def _label(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("text or a whole number")
    return value


Name = Annotated[str, AfterValidator(_name)]
Label = Annotated[str | int, BeforeValidator(_label)]
Place = Annotated[str, AfterValidator(_place)]
Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Share = Annotated[Number, Field(ge=0, le=1)]


class Part(BaseModel):
    """Unknown fields are errors, NaN and infinities too, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_repeated(names: Sequence[str]) -> str | None:
    """The first name that is there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
