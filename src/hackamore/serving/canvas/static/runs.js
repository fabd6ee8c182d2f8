// When a live run begins, and what becomes of it: first a quick look, then the full picture, always of the newest state.
//
// A run begins when something changed and no stroke is under way, the page is seen, and the request is not the one that
// was sent last. A newer run replaces an older one on the server; what an older one still brings is kept all the same.
import { digest } from "./store.js";
import { silent } from "./unit_values.js";
import { OVER } from "./wait.js";

const TOGETHER = 40; // milliseconds in which several changes are one
const UNDER_WAY = new Set(["sending", "preview", "rough", "full"]);
const GIVEN_UP = new Set(["failed", "stopped"]);

// `known(key)` is a frame that this very request gave before, or undefined. `place(run, frame)` shows a frame,
// `store(frame)` keeps it; both are called for every picture that arrives, `place` only while nothing newer is shown.
export function createRuns(app, picture, { known, place, store }) {
  const { t, api } = app;
  const is = { on: true, dirty: false, building: false, ready: false, drawing: false };
  let count = 0;
  let building = 0; // requests that were begun to be put together
  let newest = null; // {number, key, request, inputs, began, state}; see UNDER_WAY, "done", GIVEN_UP
  let shown = 0; // the number of the run whose picture stands
  let timer = null;
  let sending = null; // the AbortController of what is being sent
  let job = null; // the newest run's job while it is under way

  const drawn = () => Boolean(app.tab?.hint);
  const halted = () => is.drawing || document.hidden || !is.on || !is.ready || !drawn();

  function changed() {
    is.dirty = true;
    picture.stale(shown > 0);
    plan();
  }

  function plan() {
    if (!drawn() || !is.ready || !(is.dirty || newest?.state === "rough")) return;
    if (!is.on) picture.tell("off");
    else if (is.drawing) picture.tell(shown ? "drawing" : "idle");
    else if (document.hidden) picture.tell("paused");
    else {
      clearTimeout(timer);
      timer = setTimeout(is.dirty ? begin : full, is.dirty ? TOGETHER : 0);
    }
  }

  async function begin() {
    if (halted()) return plan();
    is.dirty = false;
    is.building = true;
    const run = { began: performance.now(), state: "sending" };
    const mine = ++building;
    try {
      const tab = app.tab;
      const asked = await app.request(tab, "live");
      const inputs = { tab: tab.name, painting: await tab.state(), units: app.units?.state?.() ?? null, request: asked };
      if (mine !== building) return undefined;
      if (is.drawing || is.dirty) return later(); // something moved while the request was put together
      if (tab.empty?.() && !asked.controls.length) return rest();
      Object.assign(run, { request: asked, inputs, key: digest(JSON.stringify({ ...asked, live: null, version: app.info.version })) });
      if (run.key === newest?.key && !GIVEN_UP.has(newest.state)) return unchanged();
      drop();
      newest = Object.assign(run, { number: ++count });
      picture.fail(null);
      const frame = await made(run);
      if (run !== newest || GIVEN_UP.has(run.state)) return undefined;
      return frame ? await settled(run, frame) : await send(run, "preview");
    } catch (error) {
      return broken(newest === run || mine === building ? (newest = run) : run, error);
    } finally {
      if (mine === building) is.building = false;
    }
  }

  // The frame that this very request gave before, if the weights it was made of are still those of the server.
  async function made({ key, request }) {
    const frame = known(key);
    return frame?.weights && frame.weights === (await app.weights(request.base, frame.units)) ? frame : null;
  }

  function later() {
    is.dirty = true;
    plan();
  }

  // Nothing to send: what is under way goes on, what was finished stands.
  function unchanged() {
    picture.stale(newest.state !== "done");
    if (newest.state === "done") picture.tell("fresh");
    else plan();
  }

  // Nothing to make a picture of.
  function rest() {
    drop();
    newest = null;
    picture.tell("nothing");
  }

  async function full() {
    const run = newest;
    if (run?.state !== "rough" || is.dirty || halted()) return plan();
    try {
      return await send(run, "live");
    } catch (error) {
      return broken(run, error);
    }
  }

  // The request of a quick look; null where the full picture is as quick.
  async function quick(asked) {
    const made = await app.request(app.tab, "preview");
    if (made.steps * 2 > asked.steps) return null;
    const controls = asked.controls.filter((one) => !silent(one, made.steps));
    return { ...asked, steps: made.steps, guidance: made.guidance, fast: made.fast, controls };
  }

  async function send(run, wanted) {
    run.state = "sending";
    picture.tell("sending");
    const rough = wanted === "preview" ? await quick(run.request) : null;
    if (run !== newest) return;
    sending = new AbortController();
    const made = await api.submit(rough ?? run.request, { signal: sending.signal });
    if (run === newest) {
      run.state = rough ? "preview" : "full";
      job = made.id;
    }
    api.watch(made.id, (event) => told(run, rough ? "preview" : "live", event));
  }

  function told(run, kind, { job: now, preview }) {
    if (now.state === "done") arrived(run, kind, now).catch((error) => broken(run, error));
    if (run !== newest || GIVEN_UP.has(run.state)) return;
    if (OVER.has(now.state)) job = null;
    if (now.state === "failed") broken(run, { words: [now.error?.what, now.error?.expected, now.error?.remedy].filter(Boolean).join("\n") });
    else if (!OVER.has(now.state)) {
      picture.tell(now.state, { progress: now.progress, percent: Math.round(100 * now.progress), ahead: now.ahead ?? 0 });
      if (preview && !shown) picture.show(bytes(preview), t("live.alt"));
    } else if (now.state !== "done") halt(run); // another page with this word ended it, or a deadline
  }

  // A finished picture, of the newest run or of an older one: it is kept in any case.
  async function arrived(run, kind, now) {
    const report = now.pictures[0];
    const weights = kind === "live" ? app.weights(run.request.base, report.units) : null;
    const answer = await fetch(api.imageUrl(now.id, report.index)).catch(() => null);
    if (!answer?.ok) throw new Error(t("live.gone"));
    const frame = { at: Date.now(), kind, job: now.id, tab: run.inputs.tab, seed: report.seed, key: kind === "live" ? run.key : null,
      picture: await answer.blob(), inputs: run.inputs, units: report.units, kept: false };
    const seconds = (performance.now() - run.began) / 1000;
    if (run.number >= shown) {
      shown = run.number;
      await place(run, frame, seconds);
    }
    if (run === newest && !GIVEN_UP.has(run.state)) {
      run.state = kind === "live" ? "done" : "rough";
      picture.stale(is.dirty || kind !== "live");
      picture.tell(kind === "live" ? "fresh" : "rough", { seconds: seconds.toFixed(1) });
      plan();
    }
    await store({ ...frame, weights: await weights }, seconds);
  }

  // A picture of this very request is there already.
  async function settled(run, frame) {
    run.state = "done";
    shown = run.number;
    await place(run, frame, 0);
    picture.stale(false);
    picture.tell("fresh");
  }

  function broken(run, error) {
    if (error?.name === "AbortError" || run !== newest) return;
    run.state = "failed";
    picture.tell("failed");
    picture.fail(error);
  }

  function halt(run) {
    run.state = "stopped";
    picture.tell("stopped");
  }

  // What is under way for a state that is gone. The server replaces it too, but only once a newer one comes.
  function drop() {
    sending?.abort();
    if (job) api.cancel(job).catch(() => {});
    job = null;
  }

  function stop() {
    drop();
    if (newest && UNDER_WAY.has(newest.state)) halt(newest);
  }

  const busy = () => !is.ready || is.building || UNDER_WAY.has(newest?.state) || (is.dirty && is.on);

  // Resolves when nothing is under way and nothing waits.
  async function idle() {
    while (busy()) await new Promise((resolve) => setTimeout(resolve, 30));
    return is.dirty ? "off" : (newest?.state ?? "nothing");
  }

  // is.on, is.drawing, is.ready: whatever changes them calls plan().
  return { is, changed, plan, stop, idle, get failed() { return newest?.state === "failed"; } };
}

function bytes(text) {
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
