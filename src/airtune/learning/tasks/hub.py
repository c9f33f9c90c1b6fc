"""Rows of a data set on the Hugging Face hub, where the optional package `datasets` is installed."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from airtune.errors import InputError, words
from airtune.learning.huggingface import quiet


def hub_rows(
    name: str, config: str, split: str, wanted: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """At most `wanted` rows, drawn at random without reading the others.

    Raises:
        InputError: `datasets` is not installed or the hub does not give the data set.
    """
    expected = "the original files (--data FOLDER), or a reachable hub and pip install 'airtune[hub]'"
    with quiet():
        try:
            import datasets
        except ImportError as error:
            found = words("no files, and the package datasets is not installed")
            raise InputError("scenario", "task.data", found, expected) from error
        try:
            data = datasets.load_dataset(name, config, split=split)
        except Exception as error:  # offline, refused, moved: many kinds, one remedy
            found = words(f"no files, and {type(error).__name__} for {name} from the hub")
            raise InputError("scenario", "task.data", found, expected) from error
    yield from data.select(generator.permutation(len(data))[:wanted])
