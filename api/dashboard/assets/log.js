// The window that shows a task's log as it grows.

import { path, text } from "./api.js";

const keep = 2_000_000; // characters shown: the end of a long log

const dialog = document.getElementById("log");
const title = document.getElementById("log-title");
const output = document.getElementById("log-text");
const stay = document.getElementById("log-follow");
let reading;

export async function openLog(task, stream) {
  close();
  reading = new AbortController();
  const { signal } = reading;
  title.textContent = `${stream} of ${task}`;
  output.textContent = "";
  dialog.showModal();
  let empty = true;
  try {
    await text(path("tasks", task, "logs") + `?stream=${stream}&follow=true`, signal, (piece) => {
      empty = false;
      append(piece);
    });
    if (empty) append("(nothing was written)");
  } catch (error) {
    if (!signal.aborted) append("\n— " + error.message + " —\n");
  }
}

function append(piece) {
  output.append(piece);
  while (output.firstChild && output.textContent.length > keep) output.firstChild.remove();
  if (stay.checked) output.scrollTop = output.scrollHeight;
}

function close() {
  if (reading) reading.abort();
  reading = undefined;
}

dialog.addEventListener("close", close);
document.getElementById("log-close").addEventListener("click", () => dialog.close());
