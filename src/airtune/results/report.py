"""DIR/report.html: one file that shows the run or comparison in DIR, readable offline, on a phone too."""

from pathlib import Path

from airtune.comparison_file import SETTINGS
from airtune.errors import InputError, words
from airtune.files import write_whole
from airtune.results.compare_report import comparison_charts_of, comparison_page
from airtune.results.comparison import Comparison
from airtune.results.comparison_table import write_tables
from airtune.results.history import History
from airtune.results.pdf import FIGURES, write_figures
from airtune.results.run_report import run_charts, run_page
from airtune.results.testbed_chart import testbed_charts
from airtune.scenario_file import SCENARIO

REPORT_FILE = "report.html"


def write_report(directory: str | Path, pdf: bool = False) -> Path:
    """Write `directory`/report.html of the run or comparison that lies there, and return the path.

    It may still go on. The same input gives the same bytes. Of a comparison table.csv and table.tex are
    written too; with `pdf` so are the charts, as `directory`/figures/*.pdf.

    Raises:
        InputError: the folder, its events or its scenario are missing or wrong, or it cannot be written.
        AirtuneError: no run of the comparison has ended, or `pdf` lacks matplotlib.
    """
    directory = Path(directory)
    if (directory / SETTINGS).exists():
        comparison = Comparison.load(directory)
        charts = comparison_charts_of(comparison)
        page = comparison_page(comparison, _scenario(directory / SCENARIO), charts)
        write_tables(comparison, directory)
    else:
        history = History.read(directory)
        charts = [*run_charts(history), *testbed_charts(directory)]
        page = run_page(history, _scenario(directory / SCENARIO), charts)
    if pdf:
        write_figures(charts, directory / FIGURES)
    write_whole(directory / REPORT_FILE, page)
    return directory / REPORT_FILE


def _scenario(path: Path) -> str:
    """The run's scenario as it was written: a report shows it, also one that later versions would refuse."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", words(type(error).__name__), "the scenario of the run in UTF-8") from error
