"""A run in TensorBoard: DIR/tensorboard, written anew from the events when a process begins to log.

Steps are rounds. Wall times are the simulated clock, so that the relative axis shows simulated time.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airtune.errors import AirtuneError

FOLDER = "tensorboard"


def check_installed() -> None:
    """Raises AirtuneError if the package is missing."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise AirtuneError(
            "--log tensorboard needs tensorboard: pip install 'airtune[tensorboard]'"
        ) from error


class TensorBoardLog:
    """Scalars, the scenario as hyperparameters, and its text."""

    def __init__(self, directory: Path, scenario: str, parameters: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        shutil.rmtree(directory / FOLDER, ignore_errors=True)
        writer: Any = SummaryWriter(str(directory / FOLDER))
        writer.add_text("scenario", "\n".join(f"    {line}" for line in scenario.splitlines()), 0, 0.0)
        for summary in hparams(dict(parameters), {"test_loss": None}):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary, 0, 0.0)
        self._writer = writer

    def write(self, round_number: int, clock_s: float, scalars: Mapping[str, float]) -> None:
        """Put a round's numbers there."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, round_number, clock_s)

    def flush(self) -> None:
        """Make what was written visible."""
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Close the file."""
        self._writer.close()
