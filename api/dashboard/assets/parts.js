// The parts that the pages are made of.

import { h } from "./dom.js";
import * as format from "./format.js";

export const ended = (state) => state === "succeeded" || state === "failed" || state === "cancelled";

export const state = (name) => h("span", { class: "state " + name }, name.replace("_", " "));

export const chip = (text, title) => h("span", { class: "chip", title }, text);

export const runLink = (id) => h("a", { href: "#/runs/" + encodeURIComponent(id) }, id);

// outside links to an http address and shows anything else as text.
export function outside(address) {
  return /^https?:\/\//.test(address) ? h("a", { href: address, rel: "noreferrer" }, address) : address;
}

export function moment(value) {
  return value ? h("time", { datetime: value, title: format.exact(value) }, format.time(value)) : "";
}

// bar shows a fraction; its text is the percentage unless there is another one.
export function bar(fraction, name, label, text) {
  return h("div", {
    class: "bar " + (name || ""), role: "progressbar", "aria-label": label,
    "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.floor(fraction * 100), "aria-valuetext": text,
  }, h("div", { class: "fill", width: (fraction * 100).toFixed(1) + "%" }), h("span", {}, text || format.percent(fraction)));
}

const order = ["finished", "running", "starting", "launching", "unreachable", "lost", "failed", "killed", "pending"];

// segments show how many tasks of a stage are in which state.
export function segments(stage) {
  const present = order.filter((s) => stage.tasks[s] > 0);
  const all = order.reduce((sum, s) => sum + stage.tasks[s], 0);
  const text = present.map((s) => stage.tasks[s] + " " + s).join(", ");
  return [
    h("div", { class: "segments", role: "img", "aria-label": text, title: text },
      present.map((s) => h("div", { class: "segment " + s, width: (100 * stage.tasks[s]) / all + "%" }))),
    h("div", { class: "quiet stage-text" }, `${stage.tasks.finished} of ${all}`, present.some((s) => s !== "finished") && ": " + text),
  ];
}

// table makes one of rows, or says that there are none. Columns are [title, class]; a row may have a class, and its "below" has
// the whole width.
export function table(caption, columns, rows, nothing) {
  if (rows.length === 0) return h("p", { class: "empty" }, nothing);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", { role: "table" }, // the roles hold where the style makes a stack of it, on narrow screens
      h("caption", { class: "hidden" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([title, name]) => h("th", { scope: "col", class: name, role: "columnheader" }, title)))),
      h("tbody", { role: "rowgroup" }, rows.map((row) => [
        h("tr", { "data-key": row.key, role: "row", class: row.class }, row.cells.map((cell, i) => h("td", { class: columns[i][1], role: "cell", "data-label": columns[i][0] }, cell))),
        row.below && h("tr", { "data-key": row.key + " below", role: "row", class: "below" }, h("td", { colspan: columns.length, role: "cell" }, row.below)),
      ]))));
}

export function section(id, title, note, ...content) {
  return h("section", { "aria-labelledby": id, "data-key": id },
    h("h2", { id }, title, note !== undefined && h("span", { class: "note" }, note)), content);
}

// facts are names with values; those without a value are left out.
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value || value === 0)
    .map(([name, value]) => h("div", { "data-key": name }, h("dt", {}, name), h("dd", {}, value))));
}

// problems lists what is wrong and where.
export function problems(list) {
  return h("ul", { class: "problems" }, (list || []).map((p) => h("li", {}, p.pointer && h("code", {}, p.pointer), " ", p.detail)));
}

// more is how many a list has, with a sign if it goes on.
export const more = (list) => list.items.length + (list.next ? "+" : "");

// crumbs lead back from a page below the overview.
export const crumbs = (...names) => h("nav", { "aria-label": "Breadcrumb" }, h("a", { href: "#/" }, "Overview"), names.map((name) => [" / ", name]));

export function counts(map, between) {
  return Object.keys(map).sort().map((name) => chip(name + between + map[name]));
}
