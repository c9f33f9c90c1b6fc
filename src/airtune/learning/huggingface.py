"""The Hugging Face libraries without their progress bars, warnings and telemetry."""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet() -> Iterator[None]:
    """Import and use transformers, datasets and huggingface_hub inside this; errors still come through."""
    # Read once, when huggingface_hub is imported; somebody's own choice stands.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import transformers  # noqa: F401  (importing it sets its logger's level, so before we do)

    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # Progress bars of all kinds go to standard error; no one switch turns all of them off.
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
