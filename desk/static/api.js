// The public API: requests, problems, pages of lists, and writes that are safe to send again.

// Where the API is: this file is at PREFIX/desk/VERSION/api.js.
export const base = new URL("../../", import.meta.url);

// How long a request may take, in ms. The server gives up on its own after 7.5 s.
const patience = 12000;

// Problem is an answer that is not a success, or that never came: then status is 0.
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail ?? "no answer");
    this.status = status;
    this.code = body.code ?? (status === 0 ? "no_answer" : `status_${status}`);
    this.detail = body.detail;
    this.reasons = body.reasons ?? [];
    this.errors = body.errors ?? [];
    this.body = body;
  }

  // Whether nobody knows what came of it, so that it is to be sent again, under the same key where it writes.
  get unknown() {
    return this.status === 0 || this.status >= 500 || this.status === 429 || this.code === "idempotency_key_in_use";
  }

  // All the codes of a refusal, the one that helps most first.
  get codes() {
    return this.reasons.length > 0 ? this.reasons.map((r) => r.code) : [this.code];
  }
}

// call sends one request. Its answer is {data, next, etag}; next is the address of a list's next page, or undefined.
export async function call(method, path, { body, key, match, type = "application/json", signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = type;
  if (key) headers["Idempotency-Key"] = key;
  if (match) headers["If-Match"] = match;
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(), patience);
  signal?.addEventListener("abort", () => given.abort());
  let answer, text;
  try {
    answer = await fetch(new URL(path, base), { method, headers, body: body && JSON.stringify(body), signal: given.signal });
    text = await answer.text();
  } catch {
    if (signal?.aborted) throw signal.reason;
    throw new Problem(0);
  } finally {
    clearTimeout(timer);
  }
  let data;
  try {
    data = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw new Problem(answer.ok ? 0 : answer.status); // something between, such as a network's own log-in page
  }
  if (!answer.ok) throw new Problem(answer.status, data);
  return {
    data,
    next: /<([^>]*)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1],
    etag: answer.headers.get("ETag") ?? undefined,
  };
}

export const get = (path, options) => call("GET", path, options);

// newKey is an Idempotency-Key. Plain http has no crypto.randomUUID.
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// write sends a change until somebody knows what came of it: the same key each time, so that it takes effect once.
export async function write(method, path, options = {}) {
  const key = newKey();
  for (let tried = 1; ; tried++) {
    try {
      return await call(method, path, { ...options, key });
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.unknown || tried === 5) throw problem;
      await pause(500 * tried);
    }
  }
}

// query is a query string of what is not empty.
export function query(fields) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined && value !== null && value !== "") q.set(name, value);
  const text = q.toString();
  return text && `?${text}`;
}

// isISBN tells a valid ISBN from any other number.
export function isISBN(code) {
  const s = code.replace(/[\s-]/g, "").toUpperCase();
  if (/^97[89]\d{10}$/.test(s)) return [...s].reduce((sum, d, i) => sum + d * (i % 2 ? 3 : 1), 0) % 10 === 0;
  if (/^\d{9}[\dX]$/.test(s)) return [...s].reduce((sum, d, i) => sum + (d === "X" ? 10 : +d) * (10 - i), 0) % 11 === 0;
  return false;
}
