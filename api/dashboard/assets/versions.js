// Executor versions: the overview's table of them, and how a run names its own.

import { channelLink, lives } from "./channels.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { bar, chip, moment, table } from "./parts.js";

const named = 3; // jobs that are named; of more there is the number

const columns = [["Version", "name"], ["Channels", "grow"], ["Runs", "number short"], ["Tasks", "number short"], ["Pinned by", "jobs named"], ["Failed", "number short"], ["Used", "short named"], ["Platforms", "short wide"], ["Registered", "short named"]];

export function versions(list, channels) {
  return table("Executor versions", columns, list.map((executor) => ({ key: executor.version, cells: [
    h("span", { title: executor.kept_by.length > 0 ? "kept by " + executor.kept_by.join(", ") : "nothing keeps it from being deleted" }, executor.version),
    [executor.channels.map((name) => pointed(name, channels)), shares(executor.version, channels)],
    executor.runs, executor.tasks, pins(executor.jobs), failures(executor), used(executor),
    platforms(executor.artifacts), registered(executor),
  ] })), "No executor version is registered yet: nothing can run.");
}

// versionOf is the version of a run, and of which channel's rollout it tries it out.
export const versionOf = (run) => [chip(run.executor_version), run.canary && h("div", { class: "quiet" }, "canary of ", channelLink(run.channel))];

function pointed(name, channels) {
  const channel = channels.find((channel) => channel.name === name);
  return h("span", { class: "chip channel", "data-key": name, title: channel && "since " + format.exact(channel.updated) }, channelLink(name));
}

// shares are the parts of channels' runs that are started on the version while rollouts decide about it.
function shares(version, channels) {
  return channels.filter(({ rollout }) => lives(rollout) && (rollout.to === version || rollout.from === version)).map(({ name, rollout }) => {
    const share = rollout.to === version ? rollout.share : 100 - rollout.share;
    return h("div", { class: "share", "data-key": name + " share" }, bar(share / 100, rollout.state, `share of the runs of ${name}`, `${share} % of ${name}`));
  });
}

function pins(jobs) {
  const rest = jobs.slice(named);
  return [jobs.slice(0, named).map((name) => chip(name)), rest.length > 0 && h("span", { class: "quiet", title: rest.join(", ") }, `and ${format.count(rest.length)} more`)];
}

function failures(executor) {
  const all = executor.succeeded + executor.failed;
  return all > 0 && h("span", { title: `${format.count(executor.failed)} of ${format.count(all)} runs failed` }, format.ratio(executor.failed, all));
}

function used({ first_used, last_used }) {
  if (!first_used) return h("span", { class: "quiet" }, "never");
  return [h("div", {}, moment(last_used)), h("div", { class: "quiet" }, "first ", moment(first_used))];
}

function platforms(artifacts) {
  return [
    artifacts.map((a) => h("div", {}, chip(`${a.os}-${a.arch}`, `SHA-256 ${a.sha256}, ${format.bytes(a.size)}`))),
    h("div", { class: "quiet" }, [...new Set(artifacts.flatMap((a) => a.kinds))].join(", ")),
  ];
}

// registered says when, by whom, and which keys signed its files: one of them all, or each file's own.
function registered(executor) {
  const keys = [...new Set(executor.artifacts.map((a) => a.signed_by || ""))];
  return [
    h("div", {}, moment(executor.registered)), executor.registered_by && h("div", { class: "quiet" }, "by ", executor.registered_by),
    keys.some(Boolean) && h("div", { class: "quiet" }, "signed by ", keys.map((key) => key || "nobody").join(" and ")),
  ];
}
