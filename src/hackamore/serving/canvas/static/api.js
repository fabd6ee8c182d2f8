// The server's own API (/v1), and nothing else. Errors carry the server's words.
import { createWaiter } from "./wait.js";

export class ApiError extends Error {
  constructor(status, told, retryAfter = 0) {
    super(told.what ?? told.detail ?? `HTTP ${status}`);
    this.status = status;
    this.retryAfter = retryAfter;
    Object.assign(this, { received: told.received, expected: told.expected, remedy: told.remedy });
  }

  // One to three plain lines.
  get words() {
    return [this.message, this.expected, this.remedy].filter(Boolean).join("\n");
  }
}

const ATTEMPTS = 8;
const SENDABLE = /^[\x21-\x7e]+$/; // what fits into a header and a cookie

async function failure(answer) {
  let body = {};
  try {
    body = await answer.json();
  } catch { /* a proxy's page: its status is all there is to tell */ }
  const detail = Array.isArray(body.detail) ? body.detail.map((one) => `${one.loc?.slice(1).join(".")}: ${one.msg}`).join("\n") : body.detail;
  return new ApiError(answer.status, body.error ?? { what: detail }, Number(answer.headers.get("Retry-After")) || 0);
}

export function keepToken(root, token) {
  const place = `path=${root.pathname}; SameSite=Strict${root.protocol === "https:" ? "; Secure" : ""}`;
  document.cookie = `hackamore_token=${token}; ${place}`;
}

// `tell(words, kind)` shows what is waited for; `askToken(wrong)` resolves to a token, or to null where
// nobody has one; `wrong` says that one was tried.
export function createApi({ root, store, t, tell, askToken }) {
  let token = store.get("token");
  if (!SENDABLE.test(token)) token = null;
  if (token) keepToken(root, token);
  const at = (path) => new URL(path, root).href;
  const part = (value) => encodeURIComponent(value);

  async function once(method, path, body, signal) {
    const headers = { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
    try {
      return await fetch(at(path), { method, headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { what: t("error.network") });
    }
  }

  async function ask(method, path, body, { signal } = {}) {
    let tried = Boolean(token);
    for (let attempt = 0; ; attempt++) {
      const answer = await once(method, path, body, signal);
      if (answer.ok) return answer.status === 204 ? null : answer.json();
      const error = await failure(answer);
      if (error.status === 401) {
        const given = await askToken(tried);
        if (!given) throw error;
        tried = true;
        if (!SENDABLE.test(given)) continue; // nobody's: asked again
        token = given;
        store.set("token", token);
        keepToken(root, token);
      } else if (error.status === 429 && attempt < ATTEMPTS) {
        const seconds = Math.min(Math.max(error.retryAfter, 1), 60);
        tell(t("error.full", { seconds }), "wait");
        await pause(seconds * 1000, signal);
      } else throw error;
    }
  }

  return {
    ask,
    url: at,
    info: () => ask("GET", "v1/info"),
    models: async () => (await ask("GET", "v1/models")).data,
    annotators: () => ask("GET", "v1/annotators"),
    submit: (request, options) => ask("POST", "v1/jobs", request, options),
    job: (id) => ask("GET", `v1/jobs/${part(id)}`),
    jobs: ({ limit = 50, before } = {}) => ask("GET", `v1/jobs?limit=${limit}${before ? `&before=${before}` : ""}`),
    request: (id) => ask("GET", `v1/jobs/${part(id)}/request`),
    cancel: (id) => ask("POST", `v1/jobs/${part(id)}/cancel`),
    remove: (id) => ask("DELETE", `v1/jobs/${part(id)}`),
    load: (name) => ask("POST", `v1/models/${part(name)}/load`),
    unload: (name) => ask("POST", `v1/models/${part(name)}/unload`),
    annotate: (kind, image, parameters = {}, { signal, ...more } = {}) =>
      ask("POST", "v1/annotate", { kind, ...(image && { image }), parameters, ...more }, { signal }),
    imageUrl: (id, k = 0, format) => at(`v1/jobs/${part(id)}/images/${k}${format ? `?format=${format}` : ""}`),
    hintUrl: (id, k = 0) => at(`v1/jobs/${part(id)}/hints/${k}`),
    recipe: (id, k = 0) => ask("GET", `v1/jobs/${part(id)}/images/${k}?format=recipe`),
    watch: createWaiter({ at: (id) => at(`v1/jobs/${part(id)}/events`), job: (id) => ask("GET", `v1/jobs/${part(id)}`), lost: (error) => tell(error.words, "wait") }),
  };
}

// A picture of this server as a data: address, for "use again", recipes and files.
export async function dataUrl(url) {
  const blob = await (await fetch(url)).blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("no longer wanted", "AbortError"));
    }, { once: true });
  });
}
