"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

// Figures name colours as CSS variables; plotly wants values, which differ between light and dark.
function coloured(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) return value.map(item => coloured(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
}

// What a frame changes, objects key by key, everything else whole.
function patch(target, changes) {
  for (const [key, value] of Object.entries(changes)) {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    target[key] = nested ? patch(target[key] ?? {}, value) : value;
  }
  return target;
}

// Boxes stand for lines; a line goes in every chart that has it.
const boxes = document.querySelectorAll("input[data-line]");
const hidden = new Set([...boxes].filter(box => !box.checked).map(box => box.dataset.line));
for (const box of boxes) {
  box.addEventListener("change", () => {
    hidden[box.checked ? "delete" : "add"](box.dataset.line);
    for (const other of boxes) {
      if (other.dataset.line === box.dataset.line) other.checked = box.checked;
    }
    drawAll();
  });
}

function draw(id) {
  const place = document.getElementById(id + "-chart");
  const {data, layout} = coloured(figures[id], getComputedStyle(document.documentElement));
  layout.width = place.clientWidth;
  for (const trace of data) {
    // Numbers stand in a heat map's cells only where they fit.
    if (trace.type === "heatmap" && place.clientWidth < 46 * (trace.x.length + 2)) trace.texttemplate = "";
    trace.visible = !hidden.has(trace.legendgroup);
  }
  Plotly.react(place, data, layout, {displayModeBar: false});
}

const drawAll = () => Object.keys(figures).forEach(draw);
drawAll();
dark.addEventListener("change", drawAll);
addEventListener("resize", drawAll);

for (const chooser of document.querySelectorAll("[data-chart]")) {
  const id = chooser.dataset.chart, {choices} = figures[id], place = document.getElementById(id + "-chart");
  const [select, slider, output] = ["select", "input", "output"].map(name => chooser.querySelector(name));
  const label = place.getAttribute("aria-label");
  const choose = () => {
    const {name, frames} = choices[select?.value ?? 0];
    if (slider) slider.max = frames.length;
    const frame = frames[slider ? slider.value - 1 : 0];
    slider?.setAttribute("aria-valuetext", frame.label);
    output.textContent = frame.label;
    place.setAttribute("aria-label", `${label} Shown: ${[name, frame.label].filter(Boolean).join(", ")}.`);
    frame.data.forEach((changes, trace) => patch(figures[id].data[trace], changes));
    patch(figures[id].layout, frame.layout);
    draw(id);
  };
  chooser.addEventListener("input", choose);
  choose();
}

// Rows by the keys of a column, missing ones last; the same column again turns the order round.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  for (const [column, head] of heads.entries()) {
    head.querySelector("button")?.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      const key = row => JSON.parse(row.cells[column].dataset.key);
      const missing = row => key(row) === null;
      body.append(...[...body.rows].sort((a, b) => missing(a) - missing(b)
        || sign * (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0)));
    });
  }
}
