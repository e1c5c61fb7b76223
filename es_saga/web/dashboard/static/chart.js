// The chart of the overview, drawn by uPlot: the same figures as in the picture that it replaces,
// to be read off point by point.
"use strict";

(() => {
  const $ = (selector, from = document) => from.querySelector(selector);

  // `light-dark()` in a custom property is resolved only where it is used as a colour.
  function colour(name) {
    const probe = document.createElement("i");
    probe.className = "hidden-text";
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function draw(plot) {
    const source = $(plot.dataset.plot);
    if (!source) return;
    const figures = JSON.parse(source.dataset.chart);
    const data = [figures.at, ...figures.lines.map((line) => line.values)];
    if (plot.chart) { plot.chart.setData(data); return; }
    const faint = colour("faint");
    const rule = colour("line");
    const days = (figures.at.at(-1) - figures.at[0]) > 2 * 86400;
    const told = days ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hour12: false };
    const times = (_chart, marks) => marks.map((mark) => new Date(mark * 1000).toLocaleString([], told));
    const axis = { stroke: faint, grid: { stroke: rule, width: 1 }, ticks: { show: false }, font: "12px sans-serif" };
    const reading = document.createElement("p");
    reading.className = "reading";
    plot.hidden = false;
    plot.chart = new uPlot({
      width: plot.clientWidth - 40,
      height: 210,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: { y: { range: (_chart, _least, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [{ ...axis, size: 28, values: times }, { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] }],
      series: [
        {},
        ...figures.lines.map((line) => ({
          label: line.label, stroke: colour(line.tone), width: 1.75, points: { show: false },
        })),
      ],
      hooks: {
        setCursor: [(chart) => {
          const at = chart.cursor.idx;
          if (at == null) { reading.textContent = ""; return; }
          const when = new Date(chart.data[0][at] * 1000).toLocaleString([], { ...told, weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false });
          const said = chart.series.slice(1).map((line, index) => `${chart.data[index + 1][at]} ${line.label}`);
          reading.textContent = `${when}: ${said.join(", ")}`;
        }],
      },
    }, data, plot);
    plot.append(reading);
    plot.closest(".card").classList.add("plotted");
    new ResizeObserver(() => {
      plot.chart?.setSize({ width: plot.clientWidth - 40, height: 210 });
    }).observe(plot);
  }

  const all = () => document.querySelectorAll("[data-plot]");
  const again = () => all().forEach(draw);
  again();
  document.addEventListener("htmx:after:swap", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of all()) { plot.chart?.destroy(); plot.chart = null; plot.replaceChildren(); draw(plot); }
  });
})();
