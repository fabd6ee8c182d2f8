// The live picture and its strip. runs.js says when a picture is made; here is what is shown, kept and brought back.
//
// `create(app)` gives {element, strip, frames, last: {kind, seconds}, idle() -> Promise}. It hears "changed", "tab", "size",
// "base", "picture", "stroke" (busy; told by whoever draws, at a stroke's begin and end); it tells "frame" ({kind, seconds}).
import { createPicture } from "./picture.js";
import { createRuns } from "./runs.js";
import { createStrip } from "./strip.js";
import { MOST_FRAMES, openFrames } from "./store.js";

const REST = 400; // milliseconds after the last change; then the painting is written down

export async function create(app) {
  const { t } = app;
  const frames = await openFrames((reason) => app.toast(t(reason === "full" ? "strip.full" : "strip.nowhere"), "error"));
  const picture = createPicture(app, { toggle, again, keep, stop: () => runs.stop(), recover: () => recover(peeked), remove: () => strip.remove(peeked), now: () => look(null) });
  const strip = createStrip(app, frames, { look, recover });
  const runs = createRuns(app, picture, { known: strip.find, place, store });
  const live = { element: picture.element, strip: strip.element, frames, last: null, idle: runs.idle };
  let shown = null; // the frame that stands while none is looked at
  let peeked = null;
  let writing = null;
  const unwritten = new Set(); // tabs whose drawing changed since it was written down

  // Puts a frame into the picture, unless an older one is looked at just now.
  async function place(run, frame, seconds) {
    shown = frame;
    live.last = { kind: frame.kind, seconds };
    app.picture = { id: frame.job, seed: frame.seed, index: 0, url: app.api.imageUrl(frame.job, 0) };
    app.units?.show?.(frame.units);
    if (peeked) return;
    await picture.show(frame.picture, t("live.alt"));
    picture.follows(frame.units);
    Object.assign(picture.frame.dataset, { kind: frame.kind, run: run.number });
  }

  async function store(frame, seconds) {
    const stored = await frames.add(frame);
    strip.add({ ...stored, inputs: undefined });
    strip.trim(MOST_FRAMES);
    app.emit("frame", { kind: frame.kind, seconds });
  }

  function look(frame) {
    peeked = frame;
    picture.peek(frame);
    if (!frame) strip.leave();
    const seen = frame ?? shown;
    if (!seen) return;
    picture.show(seen.picture, t(frame ? "live.alt.past" : "live.alt"));
    picture.follows(seen.units);
  }

  // Painting, units, prompt and seed as they were when the frame was made; all of it is one change.
  async function recover(frame) {
    const inputs = frame && (await frames.inputs(frame.id));
    if (!inputs) return app.toast(t("strip.gone"), "error");
    look(null);
    runs.is.ready = false;
    try {
      if (app.tabs[inputs.tab]) app.show(inputs.tab);
      await app.settings?.restore?.(inputs.request);
      await app.tabs[inputs.tab]?.restore?.(inputs.painting);
      if (inputs.units) await app.units?.restore?.(inputs.units);
      app.toast(t("strip.recovered"), "good");
    } catch (error) {
      app.fail(error);
    } finally {
      runs.is.ready = true;
    }
    return changed();
  }

  function keep() {
    if (!peeked) return;
    strip.keep(peeked, !peeked.kept);
    picture.peek(peeked);
  }

  function toggle(on) {
    runs.is.on = on;
    app.store.set("live", on);
    if (on) return again();
    runs.stop();
    return picture.tell("off");
  }

  function again() {
    if (app.tab?.hint) runs.changed();
  }

  function changed() {
    if (!runs.is.ready || !app.tab?.hint) return;
    unwritten.add(app.tab);
    clearTimeout(writing);
    writing = setTimeout(write, REST);
    runs.changed();
  }

  async function write() {
    clearTimeout(writing);
    writing = null;
    const tabs = [...unwritten];
    unwritten.clear();
    const drawn = tabs.map(async (tab) => frames.hold(`painting.${tab.name}`, await tab.state()));
    await Promise.all([...drawn, frames.hold("units", app.units?.state?.() ?? null)]); // all begun at once: the page may be leaving
  }

  // What was painted before, and the frames that were made.
  async function start() {
    picture.shape(app.settings?.size?.() ?? app.base().size);
    runs.is.on = picture.on = app.store.get("live", true);
    picture.tell("idle");
    try {
      strip.fill(await frames.newest());
      for (const [name, tab] of Object.entries(app.tabs)) {
        const held = tab.hint && tab.restore ? await frames.held(`painting.${name}`) : null;
        if (held) await tab.restore(held);
      }
      const units = await frames.held("units");
      if (units) await app.units?.restore?.(units);
    } catch (error) {
      app.fail(error);
    }
    runs.is.ready = true;
    again();
  }

  app.on("changed", changed);
  app.on("base", changed);
  app.on("stroke", (busy) => {
    runs.is.drawing = busy;
    runs.plan();
  });
  app.on("tab", () => runs.is.ready && again());
  app.on("size", picture.shape);
  app.on("picture", (made) => {
    app.picture = made;
    if (!peeked) picture.show(made.url, t("live.alt"));
  });
  app.on("leaving", write);
  app.on("ready", start);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && writing) write();
    runs.plan();
  });
  window.addEventListener("pagehide", () => writing && write());
  window.addEventListener("online", () => runs.failed && again());
  return live;
}
