// The page of one run: stages, why it waits, what went wrong, its tasks and their logs.

import { get, path } from "./api.js";
import { channelLink } from "./channels.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { openLog } from "./log.js";
import { bar, chip, counts, crumbs, ended, facts, moment, problems, section, stageBar, state, table } from "./parts.js";

const most = 300; // tasks shown

export async function load(id) {
  const [info, run, tasks, explanation] = await Promise.all([
    get("/v1/info"), get(path("runs", id)), get(path("runs", id, "tasks") + "?limit=" + most), get(path("runs", id, "explain")),
  ]);
  return { info, run, tasks, explanation };
}

export function render({ run, tasks, explanation }) {
  return [
    crumbs(run.job),
    h("h1", {}, run.id, " ", state(run.state)),
    bar(run.progress, run.state, "progress"),
    facts([
      ["job", `${run.job}, revision ${run.revision}`], ["executor version", chip(run.executor_version)], ["channel", followed(run)],
      ["started by", run.by],
      ["created", moment(run.created)], ["started", moment(run.started)], ["ended", moment(run.ended)],
      ["took", format.took(run.started, run.ended)],
      ["cancel asked for", run.cancel_requested && [moment(run.cancel_requested), run.cancelled_by && " by " + run.cancelled_by]],
      ["moved", run.moves?.length > 0 && run.moves.map(move)],
      ["parameters", Object.keys(run.params).length > 0 && counts(run.params, " = ")],
    ]),
    run.error && failure(run.error),
    run.output && output(run.output),
    explanation.waiting.length > 0 && !ended(run.state) && waiting(run, explanation),
    section("stages", "Stages", run.stages.length, h("div", { class: "stages" }, run.stages.map(stageBar))),
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
    facts([["rows", format.count(o.rows)], ["files", o.files], ["size", format.bytes(o.bytes)], ["at", h("code", {}, o.uri)], ["manifest", h("code", {}, o.manifest)]]));
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

const columns = [["Task", "task"], ["State", "short"], ["Progress", "grow"], ["", "wide quiet"], ["Host", "short"], ["Version", "short wide"], ["Attempts", "number wide"], ["Rows", "number wide"], ["Read", "number wide"], ["CPU", "number wide"], ["Memory", "number wide"], ["Log", "short"]];

function taskTable(run, tasks) {
  return table("Tasks", columns, tasks.map((task) => ({ key: task.id, below: failures(task), cells: [
    h("span", { title: task.id }, `${task.stage} ${task.index + 1}/${task.of}`),
    state(task.state), bar(task.progress, task.state, "progress of " + task.id), task.phase,
    h("span", { title: task.agent }, task.host), chip(task.executor_version), task.attempts.length || "", ...counters(task),
    task.attempts.length > 0 && ["stdout", "stderr"].map((stream) =>
      h("button", { type: "button", class: "link", "data-key": stream, "aria-label": `${stream} of ${task.id}`, onclick: () => openLog(task.id, stream) }, stream)),
  ] })), "There are no tasks yet.");
}

function counters(task) {
  if (task.attempts.length === 0) return ["", "", "", ""];
  const c = task.counters;
  return [format.count(c.rows), format.bytes(c.bytes), c.cpu_seconds.toFixed(1) + " s", format.bytes(c.peak_memory)];
}

function failures(task) {
  const failed = task.attempts.filter((a) => a.failure);
  if (failed.length === 0) return "";
  return h("ul", { class: "problems" }, failed.map((a) => h("li", { "data-key": a.id },
    h("span", { class: "quiet" }, `attempt ${a.number} (${a.failure.class}): `), a.failure.pointer && h("code", {}, a.failure.pointer), " ", a.failure.message)));
}
