"""DIR/report.html: one file that shows a run, readable offline on a phone, by eye or by screen reader."""

from pathlib import Path

from airtune.errors import InputError, words
from airtune.files import write_whole
from airtune.results.history import History
from airtune.results.run_report import run_page

SCENARIO_FILE = "scenario.yaml"
REPORT_FILE = "report.html"


def write_report(directory: str | Path) -> Path:
    """Write `directory`/report.html from its events and scenario, and return the path.

    The run may still go on. The same input gives the same bytes.

    Raises:
        InputError: the folder, its events or its scenario are missing or wrong, or it cannot be written.
    """
    directory = Path(directory)
    page = run_page(History.read(directory), _scenario(directory / SCENARIO_FILE))
    write_whole(directory / REPORT_FILE, page)
    return directory / REPORT_FILE


def _scenario(path: Path) -> str:
    """The run's scenario as it was written: a report shows it, also one that later versions would refuse."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", words(type(error).__name__), "the scenario of the run in UTF-8") from error
