// Calls to the API. The token, if one is needed, lives in sessionStorage of this tab.

const key = "tidemill-token";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function request(path, signal) {
  const token = sessionStorage.getItem(key);
  const headers = token ? { Authorization: "Bearer " + token } : {};
  return fetch(path, { headers, signal, cache: "no-store" });
}

async function refusal(response) {
  let detail = response.status + " " + response.statusText;
  try {
    detail = (await response.json()).detail || detail;
  } catch {
    // not a problem document: the status has to do
  }
  return new Refused(response.status, detail);
}

// get reads one answer. It throws Refused, or TypeError when the server does not answer.
export async function get(path) {
  const response = await request(path, AbortSignal.timeout(20000));
  if (!response.ok) throw await refusal(response);
  return response.json();
}

// text hands a streamed answer to take, piece by piece, until it ends or signal does.
export async function text(path, signal, take) {
  const response = await request(path, signal);
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(value);
  }
}

export function saveToken(token) {
  sessionStorage.setItem(key, token);
}

export function hasToken() {
  return sessionStorage.getItem(key) !== null;
}

export function forgetToken() {
  sessionStorage.removeItem(key);
}

export const path = (...segments) => "/v1/" + segments.map(encodeURIComponent).join("/");
