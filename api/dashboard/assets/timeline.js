// When the tasks of a run ran: a lane for each agent, a bar for each attempt.

import { h, svg } from "./dom.js";
import * as format from "./format.js";
import { section } from "./parts.js";

const hues = 6; // stages are told apart by so many colours, then they come again
const ticks = 6; // at most, on the axis
const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400];

// timeline draws what the API gives; stages are the names of the run's stages, in order.
export function timeline(data, stages) {
  if (data.agents.length === 0) return "";
  const from = Date.parse(data.from);
  const span = Math.max(Date.parse(data.to) - from, 1);
  const at = (moment) => (100 * (Date.parse(moment) - from)) / span;
  const notes = [`${data.attempts} ${data.attempts === 1 ? "attempt" : "attempts"} on ${data.agents.length} ${data.agents.length === 1 ? "agent" : "agents"}`];
  if (data.left) notes.push(`the last ${data.left} are not drawn`);
  return section("timeline", "Timeline", notes.join("; "), legend(data, stages),
    h("div", { class: "lanes" },
      h("div", { class: "lane-name quiet" }, format.exact(data.from)), axis(span / 1000),
      data.agents.map((lane) => [
        h("div", { class: "lane-name", "data-key": lane.agent + " name", title: lane.agent }, lane.host || lane.agent),
        drawn(lane, stages, at),
      ])));
}

function drawn(lane, stages, at) {
  const thick = lane.rows.length > 24 ? 3 : lane.rows.length > 8 ? 6 : 10;
  const pitch = thick + 2;
  return svg("svg", { class: "lane", "data-key": lane.agent, role: "img", "aria-label": "attempts on " + (lane.host || lane.agent), width: "100%", height: lane.rows.length * pitch + 2 },
    lane.rows.flatMap((row, i) => row.map((bar) => {
      const x = at(bar.from);
      const width = Math.max((bar.to ? at(bar.to) : 100) - x, 0.15);
      return svg("rect", { "data-key": bar.task + "." + bar.attempt, class: look(bar, stages), x: x.toFixed(2) + "%", y: i * pitch + 1, width: width.toFixed(2) + "%", height: thick, rx: Math.min(2, thick / 2) },
        svg("title", {}, tell(bar, lane)));
    })));
}

// look is how a bar is coloured: by its stage when all went well, else by its state.
function look(bar, stages) {
  const state = bar.state === "finished" ? "finished hue" + (stages.indexOf(bar.stage) % hues) : bar.state;
  return "attempt " + state + (bar.second ? " beside" : "") + (bar.given_up ? " given-up" : "");
}

function tell(bar, lane) {
  const what = bar.attempts > 1 ? `${bar.attempts} attempts of ${bar.stage}, from task ${bar.index + 1} on` : `${bar.stage} ${bar.index + 1}, attempt ${bar.attempt}`;
  const lines = [`${what}: ${bar.state}${bar.second ? ", second attempt" : ""}${bar.given_up ? ", given up" : ""}`, `${format.took(bar.from, bar.to)} on ${lane.host}, from ${format.time(bar.from)}`];
  if (bar.message) lines.push(bar.message);
  return lines.join("\n");
}

function axis(seconds) {
  const step = steps.find((s) => seconds / s <= ticks) || Math.ceil(seconds / ticks / 86400) * 86400;
  const marks = [];
  for (let t = 0; t <= seconds; t += step) marks.push(t);
  return svg("svg", { class: "axis", width: "100%", height: 16, "aria-hidden": "true" },
    marks.map((t) => {
      const x = (100 * t) / seconds;
      return svg("text", { x: x.toFixed(2) + "%", y: 12, "text-anchor": t === 0 ? "start" : x > 94 ? "end" : "middle" }, t === 0 ? "0" : "+" + format.brief(t));
    }));
}

const told = { running: "running", failed: "failed", killed: "killed", lost: "lost", unreachable: "unreachable" };

function legend(data, stages) {
  const bars = data.agents.flatMap((lane) => lane.rows.flat());
  const entry = (look, text) => h("span", { class: "entry", "data-key": text }, svg("svg", { width: 14, height: 10 }, svg("rect", { class: "attempt " + look, x: 1, y: 1, width: 12, height: 8, rx: 2 })), text);
  return h("div", { class: "legend quiet" },
    stages.filter((stage) => bars.some((bar) => bar.stage === stage && bar.state === "finished")).map((stage) => entry("finished hue" + (stages.indexOf(stage) % hues), stage)),
    Object.keys(told).filter((state) => bars.some((bar) => bar.state === state)).map((state) => entry(state, told[state])),
    bars.some((bar) => bar.second) && entry("running beside", "second attempt"));
}
