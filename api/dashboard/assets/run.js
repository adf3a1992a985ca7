// The page of one run: stages, why it waits, what went wrong, its tasks and their logs.

import { get, path } from "./api.js";
import { channelLink } from "./channels.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { openLog } from "./log.js";
import { bar, chip, counts, crumbs, ended, facts, moment, problems, section, segments, state, table } from "./parts.js";
import { timeline } from "./timeline.js";

const most = 300; // tasks shown

export async function load(id) {
  const [info, run, tasks, explanation, times] = await Promise.all([
    get("/v1/info"), get(path("runs", id)), get(path("runs", id, "tasks") + "?limit=" + most), get(path("runs", id, "explain")), get(path("runs", id, "timeline")),
  ]);
  return { info, run, tasks, explanation, times };
}

export function render({ run, tasks, explanation, times }) {
  return [
    crumbs(run.job),
    h("h1", {}, run.id, " ", state(run.state)),
    bar(run.progress, run.state, "progress"),
    facts([
      ["job", `${run.job}, revision ${run.revision}`], ["executor version", chip(run.executor_version)], ["channel", followed(run)],
      ["started by", run.by],
      ["created", moment(run.created)], ["started", moment(run.started)], ["ended", moment(run.ended)],
      ["took", format.took(run.started, run.ended)], ["time left", left(run.time_left_seconds)],
      ["cancel asked for", run.cancel_requested && [moment(run.cancel_requested), run.cancelled_by && " by " + run.cancelled_by]],
      ["moved", run.moves?.length > 0 && run.moves.map(move)],
      ["parameters", Object.keys(run.params).length > 0 && counts(run.params, " = ")],
    ]),
    run.error && failure(run.error),
    run.output && output(run.output),
    explanation.waiting.length > 0 && !ended(run.state) && waiting(run, explanation),
    section("stages", "Stages", run.stages.length, stageTable(run.stages)),
    timeline(times, run.stages.map((stage) => stage.name)),
    section("tasks", "Tasks", tasks.items.length + (tasks.next ? "+" : ""), taskTable(run, tasks.items)),
  ];
}

// followed is the channel that gave the run its version, and for which rollout it counts.
const followed = (run) => run.channel && [channelLink(run.channel), run.rollout > 0 && `, rollout ${run.rollout}`, run.canary && " (canary)"];

const move = ({ at, from, to, by }) => h("div", {}, moment(at), ` from ${from} to ${to}`, by && " by " + by);

function failure(error) {
  return h("section", { class: "box failed", "data-key": "error", "aria-label": "Error" },
    h("h2", {}, "Failed: ", error.kind),
    error.message !== error.problems?.[0].detail && h("p", {}, error.pointer && h("code", {}, error.pointer), " ", error.message),
    error.problems && problems(error.problems),
    error.task && h("p", { class: "quiet" }, "Task ", h("code", {}, error.task)));
}

function output(o) {
  return h("section", { class: "box succeeded", "data-key": "output", "aria-label": "Output" },
    h("h2", {}, "Output"),
    facts([["rows", format.count(o.rows)], ["files", o.files], ["size", format.bytes(o.bytes)], ["bad rows", o.bad_rows && format.count(o.bad_rows)], ["at", h("code", {}, o.uri)], ["manifest", h("code", {}, o.manifest)]]));
}

// waiting says why tasks wait. That is worth a colour only while nothing of the run is under way.
function waiting(run, explanation) {
  const busy = run.stages.some(({ tasks }) => tasks.launching + tasks.starting + tasks.running > 0);
  return h("section", { class: busy ? "box" : "box pending", "data-key": "waiting", "aria-label": "Why tasks wait" },
    h("h2", {}, "Waiting"), explanation.waiting.map((w, i) => h("div", { "data-key": w.stage + i },
      h("p", {}, h("strong", {}, `${w.tasks} × ${w.stage}: `), w.reason),
      h("p", { class: "quiet" },
        `each ${w.resources.cpus} cpus, ${format.bytes(w.resources.memory)} memory, ${format.bytes(w.resources.disk)} disk; `,
        `for ${format.took(w.since)}; ${format.count(w.offers)} offers looked at`, w.not_before && ["; not before ", moment(w.not_before)]),
      h("ul", { class: "quiet" }, w.reasons.map((r) => h("li", {}, r.text))))));
}

const left = (seconds) => seconds !== undefined && "about " + format.brief(Math.round(seconds));

const stageColumns = [["Stage", "name"], ["Tasks", "grow full"], ["Rows", "number"], ["Read", "number"], ["Rows out", "number"], ["Out", "number"], ["Took", "number"], ["Median", "number"], ["Slowest", "number"], ["Skew", "number"], ["Left", "number"]];

// stageTable shows how far each stage is, what it has read and put out, and how evenly its tasks went.
function stageTable(stages) {
  return table("Stages", stageColumns, stages.map((stage) => {
    const d = stage.durations;
    return { key: stage.name, cells: [
      h("strong", {}, stage.name), segments(stage), format.count(stage.rows), format.bytes(stage.bytes), format.count(stage.out_rows), format.bytes(stage.out_bytes),
      format.took(stage.started, stage.ended), d && format.span(d.median_seconds), d && format.span(d.max_seconds),
      d && d.tasks > 1 && d.skew && h("span", { class: d.skew >= 3 ? "bad" : "", title: "the slowest task by the median" }, d.skew.toFixed(1) + "×"), left(stage.time_left_seconds),
    ] };
  }), "There are no stages yet.");
}

const columns = [["Task", "task"], ["State", "short"], ["Progress", "grow"], ["", "wide quiet"], ["Host", "short"], ["Version", "short wide"], ["Attempts", "number wide"], ["Took", "number wide"], ["Rows", "number wide"], ["Read", "number wide"], ["CPU", "number wide"], ["Memory", "number wide"], ["Log", "short"]];

function taskTable(run, tasks) {
  return table("Tasks", columns, tasks.map((task) => ({ key: task.id, below: failures(task), cells: [
    h("span", { title: task.id }, `${task.stage} ${task.index + 1}/${task.of}`),
    state(task.state), bar(task.progress, task.state, "progress of " + task.id), task.phase,
    h("span", { title: task.agent }, task.host), chip(task.executor_version), task.attempts.length || "", took(task), ...counters(task),
    task.attempts.length > 0 && ["stdout", "stderr"].map((stream) =>
      h("button", { type: "button", class: "link", "data-key": stream, "aria-label": `${stream} of ${task.id}`, onclick: () => openLog(task.id, stream) }, stream)),
  ] })), "There are no tasks yet.");
}

// took is how long the attempt ran that says most of a task: the one whose result counts, or the newest.
function took(task) {
  const a = task.attempts.find((a) => a.state === "finished" && !a.given_up && !a.handed_over) || task.attempts.at(-1);
  return a && format.took(a.launched, a.ended);
}

function counters(task) {
  if (task.attempts.length === 0) return ["", "", "", ""];
  const c = task.counters;
  return [format.count(c.rows), format.bytes(c.bytes), c.cpu_seconds.toFixed(1) + " s", format.bytes(c.peak_memory)];
}

function failures(task) {
  const failed = task.attempts.filter((a) => a.failure || a.second);
  if (failed.length === 0) return "";
  return h("ul", { class: "problems" }, failed.map((a) => [
    a.second && h("li", { "data-key": a.id + " second" }, h("span", { class: "quiet" }, `attempt ${a.number} (second): `), a.second),
    a.failure && h("li", { "data-key": a.id },
      h("span", { class: "quiet" }, `attempt ${a.number} (${a.failure.class}): `), a.failure.pointer && h("code", {}, a.failure.pointer), " ", a.failure.message),
  ]));
}
