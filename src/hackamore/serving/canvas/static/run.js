// Generate: a full run of what the page shows, its progress, its end in words, and a way to stop it.
import { h, icon } from "./dom.js";
import { OVER } from "./wait.js";

export function createRun(app) {
  const { t, api } = app;
  const go = h("button", { class: "hm-button primary wide", type: "button", id: "hm-generate", title: "Ctrl+Enter", onclick: start }, icon("play"), t("action.generate"));
  const stop = h("button", { class: "hm-button wide", type: "button", id: "hm-stop", hidden: true, onclick: cancel }, icon("stop"), t("action.stop"));
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("state.running") });
  const words = h("p", { class: "hm-state", "aria-live": "polite", hidden: true });
  const trouble = h("p", { hidden: true, id: "hm-run-error" });
  const made = h("div", { class: "hm-thumbs" });
  let running = null, sending = null;

  document.addEventListener("keydown", (event) => {
    if (event.target.closest?.("dialog")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start();
    if (event.key === "Escape" && (running || sending)) cancel();
  });
  app.on("tab", () => (go.disabled = !app.tab?.hint));

  async function start() {
    if (running || sending || !app.tab?.hint) return;
    app.fail(null, trouble);
    sending = new AbortController();
    show({ state: "queued", progress: 0 });
    try {
      const job = await app.submit(app.tab, "full", { signal: sending.signal });
      running = job.id;
      api.watch(job.id, ({ job: now }) => {
        show(now);
        if (OVER.has(now.state)) ended(now);
      });
    } catch (error) {
      show(null);
      app.fail(error, trouble);
    } finally {
      sending = null;
    }
  }

  function ended(job) {
    running = null;
    if (job.state === "failed") app.fail({ words: [job.error?.what, job.error?.expected, job.error?.remedy].filter(Boolean).join("\n") }, trouble);
    if (job.state !== "done") {
      show(job.state === "failed" ? null : job);
      return;
    }
    show(null);
    made.replaceChildren(...job.pictures.map((picture) => thumb(job, picture)));
    const first = job.pictures[0];
    app.emit("picture", { id: job.id, index: first.index, seed: first.seed, url: api.imageUrl(job.id, first.index) });
    app.emit("made", job);
  }

  function thumb(job, picture) {
    const image = h("img", { src: api.imageUrl(job.id, picture.index), alt: t("gallery.details", { seed: picture.seed }) });
    return h("button", { class: "hm-thumb", type: "button", onclick: () => app.gallery?.open(job, picture.index) }, image);
  }

  async function cancel() {
    sending?.abort();
    if (running) await api.cancel(running).catch((error) => app.fail(error, trouble));
  }

  function show(job) {
    const busy = Boolean(job) && !OVER.has(job.state);
    go.hidden = busy;
    stop.hidden = bar.hidden = !busy;
    if (busy) {
      if (job.progress > 0) bar.value = job.progress;
      else bar.removeAttribute("value");
    }
    words.hidden = !job;
    words.textContent = job ? (job.state === "queued" && job.ahead ? t("state.ahead", { count: job.ahead }) : t(`state.${job.state}`)) : "";
  }

  return { element: h("div", { class: "hm-run" }, go, stop, bar, words, trouble, made) };
}
