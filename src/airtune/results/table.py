"""The end of a run as a small table in the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airtune.results.events import round_events, start_event, summarise, waits_for_all
from airtune.results.formats import amount, duration, number

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(events: Sequence[Mapping[str, Any]]) -> "Table":
    """What the run reached and what it took; works for a run that is not finished.

    Raises:
        InputError: there is no start event.
    """
    from rich.markup import escape
    from rich.table import Table

    start, summary = start_event(events), summarise(events)
    table = Table(
        show_header=False, title=escape(f"{start['scenario']} · {start['method']}"), title_justify="left"
    )
    table.add_column("what", style="dim")
    table.add_column("value")
    table.add_row("rounds", f"{summary['rounds']} of {max(start['rounds'], summary['rounds'])}")
    table.add_row("test loss", f"{number(summary['loss_before'])} → {number(summary['loss_after'])}")
    table.add_row("simulated time", duration(summary["simulated_s"]))
    comparable = waits_for_all(start, round_events(events))
    if comparable:
        table.add_row("equal bandwidth, no pruning, same rounds", duration(summary["fedit_s"]))
    if comparable and summary["simulated_s"] > 0:
        table.add_row("speed-up", f"{summary['fedit_s'] / summary['simulated_s']:.2f}×")
    table.add_row("bytes up", amount(summary["bytes_up"], "B"))
    table.add_row("bytes down", amount(summary["bytes_down"], "B"))
    table.add_row("training work", amount(summary["flops"], "FLOP"))
    if lost := summary.get("lost_updates", 0):
        table.add_row("updates that did not come", str(lost))
    if "energy_j" in summary:
        table.add_row("energy of computing and sending", amount(summary["energy_j"], "J"))
    if "privacy" in start and "epsilon" in summary:
        terms = f"{number(summary['epsilon'])} at delta {start['privacy']['delta']:g}"
        table.add_row("epsilon of a client, at most", terms)
    table.add_row("elapsed time on this machine", duration(summary["elapsed_s"]))
    return table
