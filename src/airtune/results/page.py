"""What every page has in common: one self-contained file, readable on a phone, by eye or by screen reader."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from airtune.results.charts import Chart, Choice, Table
from airtune.results.event_schema import StartEvent
from airtune.results.formats import duration

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A heading, by which the page links to it, and HTML."""

    id: str
    title: str
    content: str


def page(
    kind: str,
    title: str,
    summary: str,
    charts: Sequence[Chart],
    *,
    before: Sequence[Section] = (),
    after: Sequence[Section] = (),
    footer: str,
) -> str:
    """The page as text.

    Args:
        kind: "report" or the like.
        title: plain text.
        summary: HTML that stands first, before the links to the sections.
        charts: one section each.
        before, after: sections around the charts'.
        footer: plain text.
    """
    sections = [*before, *(_chart_section(chart) for chart in charts), *after]
    return Template(_text("page.html")).substitute(
        kind=kind,
        title=html.escape(title),
        style=_text("page.css"),
        summary=summary,
        links="".join(f'<li><a href="#{part.id}">{html.escape(part.title)}</a></li>' for part in sections),
        sections="".join(_section(part) for part in sections),
        footer=html.escape(footer),
        plotly=get_plotlyjs(),
        figures=_figures(charts),
        script=_text("page.js"),
    )


def scenario_section(text: str) -> Section:
    """The scenario as it is."""
    yaml = scrolled_text("Scenario as YAML", text)
    return Section("scenario", "Scenario", folded("YAML with every default spelled out", yaml))


def origin(start: StartEvent, rounds: str, elapsed_s: float) -> str:
    """For the footer: by what the page was made, and how long `rounds` ("The rounds") really took."""
    return (
        f"airtune {start['version']} on {start['machine']}. {rounds} took {duration(elapsed_s)} there; "
        "every other time on this page is simulated, unless it is said to be measured."
    )


def folded(summary: str, content: str) -> str:
    """HTML that opens on demand."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def scrolled_text(label: str, text: str) -> str:
    """A file as it is, in a region that scrolls, by keyboard too."""
    return (
        f'<pre class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}">'
        f"{html.escape(text)}</pre>"
    )


def table(content: Table) -> str:
    """The table in a region that scrolls; columns with keys are sorted by a button in their head."""
    caption = html.escape(content.caption)
    head = "".join(_head(content, column) for column in range(len(content.columns)))
    keys = content.keys or [[] for _ in content.rows]
    body = "".join(_row(*both) for both in zip(content.rows, keys, strict=True))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _section(part: Section) -> str:
    return (
        f'<section aria-labelledby="{part.id}">\n<h2 id="{part.id}">{html.escape(part.title)}</h2>\n'
        f"{part.content}\n</section>\n"
    )


def _chart_section(chart: Chart) -> Section:
    """A chart, how to read it, what can be chosen in it, and its figures as a table."""
    return Section(
        chart.id,
        chart.title,
        f"<figure><figcaption>{html.escape(chart.caption)}</figcaption>{_chooser(chart)}{_lines(chart)}"
        f'<div class="chart" id="{chart.id}-chart" role="img" aria-label="{html.escape(chart.label)}" '
        f'style="min-height: {chart.figure.layout.height}px"></div>'
        f"{folded(f'Table: {chart.table.caption}', table(chart.table))}</figure>",
    )


def _head(content: Table, column: int) -> str:
    title = html.escape(content.columns[column])
    if not content.keys:
        return f'<th scope="col">{title}</th>'
    order = ' aria-sort="ascending"' if column == content.sorted_by else ""
    return f'<th scope="col"{order}><button type="button">{title}</button></th>'


def _row(cells: list[str], keys: list[float | str | None]) -> str:
    attributes = [f' data-key="{html.escape(json.dumps(key, allow_nan=False))}"' for key in keys]
    attributes = attributes or [""] * len(cells)
    first, *rest = (f"{key}>{html.escape(cell)}" for key, cell in zip(attributes, cells, strict=True))
    return f'<tr><th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in rest) + "</tr>"


def _chooser(chart: Chart) -> str:
    """A list of the runs and a slider over the rounds; nothing where there is nothing to choose."""
    rounds = max((len(choice.frames) for choice in chart.choices), default=0)
    controls = ""
    if len(chart.choices) > 1:
        controls += _run_list(f"{chart.id}-run", chart.choices)
    if rounds > 1:
        slider, last = f"{chart.id}-round", len(chart.choices[0].frames)
        controls += (
            f'<label for="{slider}">Round</label>'
            f'<input type="range" id="{slider}" min="1" max="{last}" value="1" autocomplete="off">'
        )
    if not controls:
        return ""
    shown = html.escape(chart.choices[0].frames[0].label)
    return f'<p class="chooser" data-chart="{chart.id}">{controls}<output>{shown}</output></p>'


def _run_list(identifier: str, choices: list[Choice]) -> str:
    options = "".join(
        f'<option value="{index}">{html.escape(choice.name)}</option>' for index, choice in enumerate(choices)
    )
    return (
        f'<label for="{identifier}">Method</label>'
        f'<select id="{identifier}" autocomplete="off">{options}</select>'
    )


def _lines(chart: Chart) -> str:
    """The legend as boxes that take lines out and bring them back."""
    if not chart.lines:
        return ""
    boxes = "".join(
        f'<label><input type="checkbox"{" checked" if line.shown else ""} autocomplete="off" '
        f'data-line="{html.escape(line.name)}"><span aria-hidden="true" style="color: {line.colour}">'
        f"{line.symbol}</span>{html.escape(line.name)}</label>"
        for line in chart.lines
    )
    return f'<fieldset class="lines"><legend>Lines shown</legend>{boxes}</fieldset>'


def _figures(charts: Sequence[Chart]) -> str:
    """Every figure as JSON that cannot end the script element it stands in."""
    figures = {
        chart.id: json.loads(chart.figure.to_json()) | {"choices": [asdict(one) for one in chart.choices]}
        for chart in charts
    }
    text = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
