// Which page is shown, and keeping it fresh.

import { Refused, forgetToken, hasToken, saveToken } from "./api.js";
import * as channels from "./channels.js";
import { h, show } from "./dom.js";
import * as overview from "./overview.js";
import * as run from "./run.js";

const interval = 1500; // milliseconds between two looks at the API

const main = document.getElementById("main");
const status = document.getElementById("status");
const links = document.getElementById("links"); // a browser follows them without the token
let shown; // the address that main shows
let timer;

function route() {
  const match = location.hash.match(/^#\/(runs|channels)\/(.+)$/);
  if (!match) return { load: overview.load, render: overview.render, title: "tidemill" };
  const page = { runs: run, channels }[match[1]];
  const id = decodeURIComponent(match[2]);
  return { load: () => page.load(id), render: page.render, title: id + " · tidemill" };
}

async function refresh() {
  clearTimeout(timer);
  const address = location.hash;
  const page = route();
  try {
    const data = await page.load();
    if (address !== location.hash) return; // the next page is on its way
    if (shown !== address) main.replaceChildren();
    show(main, page.render(data));
    document.title = page.title;
    links.hidden = hasToken();
    show(status, h("span", { class: "version" }, data.info.version),
      data.info.role === "standby" && h("span", { class: "quiet" }, "standby"),
      data.info.mesos.connected ? h("span", { class: "good" }, "connected to Mesos") : h("span", { class: "bad" }, "not connected to Mesos"));
    if (shown !== undefined && shown !== address) {
      main.focus();
      scrollTo(0, 0);
    }
    shown = address;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return askForToken();
    if (shown !== address) show(main, h("p", { class: "bad" }, error.message), h("p", {}, h("a", { href: "#/" }, "Overview")));
    show(status, h("span", { class: "bad" }, error instanceof Refused ? error.message : "the server does not answer"));
  }
  if (!document.hidden) timer = setTimeout(refresh, interval);
}

function askForToken() {
  const dialog = document.getElementById("token");
  const value = document.getElementById("token-value");
  if (hasToken()) document.getElementById("token-note").textContent = "That token is wrong.";
  forgetToken();
  value.value = "";
  dialog.showModal();
  value.focus();
}

document.getElementById("token").addEventListener("close", () => {
  const token = document.getElementById("token-value").value.trim();
  if (token === "") {
    show(main, h("p", { class: "empty" }, "A token is needed; load the page again to enter it."));
    return;
  }
  saveToken(token);
  refresh();
});

addEventListener("hashchange", refresh);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
refresh();
