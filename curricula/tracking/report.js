"use strict";
// Draws the charts from their specifications, in the colours of the reader's scheme, and again when that changes.
(() => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const read = (id) => document.getElementById(id).textContent;
  const theme = JSON.parse(read("theme"));
  const againstCost = document.getElementById("against-cost"); // where a run has a cost
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"],
    toImageButtonOptions: { scale: 2 },
  };
  // Names cannot hold a "#": Python wrote it as a character reference.
  const coloured = (text) =>
    scheme.matches ? text.replace(/#[0-9A-F]{6}/g, (colour) => theme.colours[colour] ?? colour) : text;

  // A native slider in place of plotly's, which no keyboard reaches.
  const addSlider = (chart, slider) => {
    let box = chart.parentElement.querySelector(".slider");
    if (!box) {
      box = document.createElement("label");
      box.className = "slider";
      const range = Object.assign(document.createElement("input"), {
        type: "range", min: 0, max: slider.steps.length - 1, value: slider.active,
      });
      box.append(slider.currentvalue.prefix, document.createElement("output"), range);
      chart.after(box);
    }
    const [output, range] = box.querySelectorAll("output, input");
    const move = () => {
      const step = slider.steps[range.value];
      output.textContent = step.label;
      range.setAttribute("aria-valuetext", slider.currentvalue.prefix + step.label);
      return Plotly.restyle(chart, ...step.args);
    };
    range.oninput = move;
    return move();
  };

  const draw = async (chart) => {
    try {
      const { data, layout, cost } = JSON.parse(coloured(read(chart.id + "-data")));
      if (cost && againstCost?.checked) {
        data.forEach((trace, place) => Object.assign(trace, cost.data[place]));
        Object.assign(layout, cost.layout);
      }
      const slider = layout.sliders?.[0];
      delete layout.sliders;
      layout.template = scheme.matches ? theme.dark : theme.light;
      await Plotly.react(chart, data, layout, config);
      if (slider) await addSlider(chart, slider);
    } catch (error) {
      chart.textContent = "This chart could not be drawn: " + error;
    }
  };

  const drawAll = async () => {
    for (const chart of document.querySelectorAll(".chart")) {
      await draw(chart);
      await new Promise((resume) => setTimeout(resume)); // the page stays responsive in between
    }
    document.documentElement.dataset.charts = "drawn";
  };

  scheme.addEventListener("change", drawAll);
  againstCost?.addEventListener("change", drawAll);
  drawAll();
})();
