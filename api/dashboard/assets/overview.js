// The first page: what runs, what waits, channels, jobs, agents, executor versions.

import { get } from "./api.js";
import { channels as channelTable } from "./channels.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { bar, counts, ended, facts, moment, more, outside, problems, runLink, section, state, table } from "./parts.js";
import { versionOf, versions } from "./versions.js";

export async function load() {
  const [info, active, recent, jobs, executors, channels] = await Promise.all([
    get("/v1/info"), get("/v1/runs?state=pending,running&limit=100"), get("/v1/runs?limit=40"),
    get("/v1/jobs?limit=200"), get("/v1/executors?limit=50"), get("/v1/channels?limit=50"),
  ]);
  return { info, active, recent, jobs, executors, channels };
}

export function render({ info, active, recent, jobs, executors, channels }) {
  const done = recent.items.filter((run) => ended(run.state)).slice(0, 20);
  return [
    h("h1", { class: "hidden" }, "Overview"),
    section("queue", "Queue", undefined, queue(info)),
    section("active", "Active runs", more(active), runs(active.items, "Nothing runs.")),
    section("channels", "Channels", more(channels), channelTable(channels.items)),
    section("recent", "Latest results", recent.incomplete, runs(done, "No run has ended yet.")),
    section("jobs", "Jobs", more(jobs), jobTable(jobs.items)),
    section("agents", "Tasks by agent and version", info.agents.length, agents(info.agents)),
    section("executors", "Executor versions", more(executors), versions(executors.items, channels.items)),
  ];
}

function queue(info) {
  return facts([
    ["tasks that wait", format.count(info.queue.pending)],
    ["tasks launched", format.count(info.queue.launched)],
    ["longest wait", format.took(info.queue.oldest_pending)],
    ["mesos", info.mesos.connected ? outside(info.mesos.master) : h("span", { class: "bad" }, "not connected ", info.mesos.master)],
    ["framework", info.framework_id],
    ["leader", info.leader ? outside(info.leader) : h("span", { class: "bad" }, "no instance leads")],
    ...(info.instances.length > 1 ? [["schedulers", info.instances.map((i) => h("div", {}, outside(i.url), " ", i.leads ? "leads" : "stands by", i.version === info.version ? "" : " · " + i.version))]] : []),
  ]);
}

const runColumns = [["Run", "run"], ["State", "short"], ["Progress", "grow"], ["Stage", "short wide"], ["Version", "short"], ["Created", "short wide"], ["Took", "number short"], ["Result, or why it waits", "full"]];

function runs(list, nothing) {
  return table("Runs", runColumns, list.map((run) => ({ key: run.id, cells: [
    runLink(run.id), state(run.state), bar(run.progress, run.state, "progress of " + run.id), stage(run), versionOf(run),
    moment(run.created), format.took(run.started, run.ended), result(run),
  ] })), nothing);
}

function stage(run) {
  const last = run.stages[run.stages.length - 1];
  if (!last || ended(run.state)) return "";
  const all = Object.values(last.tasks).reduce((a, b) => a + b, 0);
  return `${last.name} ${last.tasks.finished}/${all}`;
}

function result(run) {
  if (run.error) return h("span", { class: "bad" }, run.error.pointer && h("code", {}, run.error.pointer), " ", run.error.message);
  if (run.output) return `${format.count(run.output.rows)} ${run.output.rows === 1 ? "row" : "rows"}`;
  return run.waiting ? h("span", { class: "quiet" }, run.waiting) : "";
}

function jobTable(list) {
  const wrong = list.some((job) => job.problems);
  const columns = [["Job", "run"], ["Kind", "short wide"], ["Revision", "number short"], ["Checks", "short"], ["Updated", "short wide"], [wrong ? "Problems" : "", "full"]];
  return table("Jobs", columns, list.map((job) => ({ key: job.name, cells: [
    job.name, job.kind, job.revision, state(job.checks), moment(job.updated),
    job.problems && problems(job.problems),
  ] })), "No job was submitted yet.");
}

function agents(list) {
  const columns = [["Agent", "run"], ["Tasks", "number short"], ["Versions", ""], ["Attributes", "wide"], ["Address", "wide"], ["Heard of", "short"]];
  return table("Agents", columns, list.map((agent) => ({ key: agent.id, cells: [
    h("span", { title: agent.id }, agent.host), agent.tasks, counts(agent.versions, " × "), counts(agent.attributes, " = "),
    outside(agent.url), h("span", { title: format.exact(agent.seen) }, format.took(agent.seen), " ago"),
  ] })), "Mesos has not offered anything yet.");
}
