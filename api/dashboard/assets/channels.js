// Channels: what each points at and how its rollout goes; on the overview, and a page for each.

import { get, path } from "./api.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { chip, counts, crumbs, facts, more, moment, section, state, table } from "./parts.js";

const most = 50; // jobs that are compared

export const channelLink = (name) => h("a", { href: "#/channels/" + encodeURIComponent(name) }, name);

// lives says whether a rollout may still change what runs are started on.
export const lives = (rollout) => rollout && (rollout.state === "running" || rollout.state === "paused");

const columns = [["Channel", "name"], ["Version", "version"], ["Rollout", ""], ["Steps", "grow"], ["Old failed", "number short"], ["New failed", "number short"], ["What it waits for, or why", "full"]];

// channels is the overview's table.
export function channels(list) {
  return table("Channels", columns, list.map(({ name, version, updated, updated_by, rollout }) => ({ key: name, cells: [
    h("span", { title: `since ${format.exact(updated)}${updated_by ? ", by " + updated_by : ""}` }, channelLink(name)), chip(version),
    ...(rollout ? [[state(rollout.state), " ", chip(rollout.to)], track(rollout), ...failed(rollout), why(rollout)] : ["", "", "", "", ""]),
  ] })), "There is no channel yet: jobs can only pin a version.");
}

// track shows the steps of a rollout; the current one is filled as far as its runs have come.
function track(rollout) {
  const { steps, min_runs } = rollout.plan;
  const place = (step) => {
    if (step < rollout.step || rollout.state === "promoted") return "done";
    return step > rollout.step ? "ahead" : rollout.state;
  };
  return h("ol", { class: "track", "aria-label": "steps of the rollout to " + rollout.to }, steps.map((share, i) => {
    const at = place(i + 1), current = i + 1 === rollout.step && lives(rollout);
    const filled = at === "ahead" ? 0 : current ? Math.min(1, rollout.runs / min_runs) : 1;
    const text = current ? `${rollout.runs} of at least ${min_runs} runs on ${rollout.to} have ended in this step` : at.replace("_", " ");
    return h("li", { class: at, "aria-current": current && "step", title: text },
      h("div", { class: "fill", width: (100 * filled).toFixed(1) + "%" }), h("span", {}, share + " %"), h("span", { class: "hidden" }, ", " + text));
  }));
}

// An answer leaves out what no run was counted for.
const none = { runs: 0, failed: 0 };

const failed = ({ old, new: fresh }) => [old || none, fresh || none].map((sample) => sample.runs > 0 && h("span", { title: `${sample.failed} of ${sample.runs} runs failed` }, format.ratio(sample.failed, sample.runs)));

// why is a rollout's sentence: what it waits for while it runs, why it is in its state otherwise.
function why(rollout) {
  if (rollout.waiting) return h("span", { class: "quiet" }, rollout.waiting);
  return h("span", { class: rollout.state === "taken_back" ? "bad" : "quiet" }, rollout.reason);
}

export async function load(name) {
  const [info, channel, rollouts] = await Promise.all([get("/v1/info"), get(path("channels", name)), get(path("channels", name, "rollouts"))]);
  return { info, channel, rollouts };
}

// render is the page of one channel.
export function render({ channel, rollouts }) {
  const { rollout } = channel, moves = channel.moves || [];
  return [
    crumbs("channels"),
    h("h1", {}, channel.name),
    facts([["version", chip(channel.version)], ["before", channel.previous && chip(channel.previous)], ["moved", moment(channel.updated)], ["by", channel.updated_by]]),
    rollout && current(rollout),
    rollout && section("compared", "Old and new", undefined, comparison(rollout)),
    rollout && section("events", "What happened", rollout.events?.length, events(rollout)),
    section("moves", "What it pointed at", moves.length, moved(moves)),
    rollouts.items.length > 1 && section("rollouts", "Rollouts before", undefined, earlier(rollouts.items.slice(1))),
  ];
}

const boxes = { running: "box", paused: "box pending", promoted: "box succeeded", taken_back: "box failed", aborted: "box" };

function current(rollout) {
  const { plan } = rollout;
  return h("section", { class: boxes[rollout.state], "data-key": "rollout", "aria-labelledby": "rollout" },
    h("h2", { id: "rollout" }, `Rollout ${rollout.number}: `, rollout.from, " → ", rollout.to, " ", state(rollout.state)),
    track(rollout),
    rollout.reason && h("p", {}, rollout.reason),
    rollout.waiting && h("p", { class: "quiet" }, "Waits: ", rollout.waiting),
    facts([
      ["share on " + rollout.to, rollout.share + " %"], ["step", `${rollout.step} of ${plan.steps.length}`], ["next step not before", moment(rollout.until)],
      ["begun", moment(rollout.created)], ["by", rollout.by], ["ended", moment(rollout.ended)],
      ["a step takes", `${plan.interval} and ${plan.min_runs} runs at least`], ["failures at most", times(plan.max_failure_ratio)],
      ["duration at most", times(plan.max_duration_ratio)], ["rows a second at least", times(plan.min_rate_ratio)],
      ["jobs", plan.jobs?.length > 0 && plan.jobs.map((name) => chip(name))],
    ]));
}

const times = (ratio) => ratio > 0 && `${ratio} × the old`;

const compared = [["Job", "full"], ["Version", "version"], ["Runs", "number short"], ["Failed", "number short"], ["Ratio", "number short"], ["Duration", "number short"], ["Rows a second", "number short"]];

const runs = (sample) => (sample || none).runs;

// comparison has two rows for a job, the old version above the new one, and first those of all jobs together.
function comparison(rollout) {
  const jobs = [...(rollout.jobs || [])].sort((a, b) => runs(b.new) - runs(a.new) || runs(b.old) - runs(a.old));
  const rows = (key, name, old, fresh) => [[rollout.from, old || none], [rollout.to, fresh || none]].map(([version, sample], i) => ({ key: `${key} ${i}`, class: i && "second", cells: [
    h("span", { class: i && "quiet" }, name), chip(version), format.count(sample.runs), format.count(sample.failed), sample.runs > 0 && format.ratio(sample.failed, sample.runs),
    sample.seconds !== undefined && format.span(sample.seconds), sample.rows_per_second !== undefined && format.count(Math.round(sample.rows_per_second)),
  ] }));
  return [
    table("Old and new", compared, [
      ...rows("all", "all jobs", rollout.old, rollout.new),
      ...jobs.slice(0, most).flatMap((job) => rows("job " + job.job, job.job, job.old, job.new)),
    ], ""),
    jobs.length > most && h("p", { class: "quiet" }, `The ${most} jobs with most runs on ${rollout.to} are shown; the API has all ${format.count(jobs.length)}.`),
  ];
}

function events(rollout) {
  const steps = rollout.plan.steps;
  const columns = [["When", "short"], ["Event", "short"], ["Step", "short"], ["By", "short"], ["Why", "full"]];
  return table("What happened", columns, [...(rollout.events || [])].reverse().map((event, i, all) => ({ key: "event " + (all.length - i), cells: [
    moment(event.at), state(event.event), `${event.step} (${steps[event.step - 1]} %)`, event.by || h("span", { class: "quiet" }, "itself"), event.reason,
  ] })), "Nothing happened yet.");
}

function moved(moves) {
  const columns = [["When", "short"], ["From", ""], ["To", ""], ["By", ""], ["How", ""]];
  return table("What it pointed at", columns, moves.map((move) => ({ key: `${move.at} ${move.to}`, cells: [
    moment(move.at), move.from && chip(move.from), chip(move.to), move.by, move.rollout ? "rollout " + move.rollout : "at once",
  ] })), "It has not moved since it was made.");
}

function earlier(list) {
  const columns = [["Rollout", "number short"], ["State", "short"], ["From", "version"], ["To", "version"], ["Steps", "grow"], ["Begun", "short"], ["By", ""], ["Why", "full"]];
  return table("Rollouts before", columns, list.map((rollout) => ({ key: "rollout " + rollout.number, cells: [
    rollout.number, state(rollout.state), chip(rollout.from), chip(rollout.to), track(rollout), moment(rollout.created), rollout.by, why(rollout),
  ] })), "");
}
