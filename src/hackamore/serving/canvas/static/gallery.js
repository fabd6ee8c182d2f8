// The gallery: every job the server still keeps, newest first, so that a reload loses nothing.
import { openCompare } from "./compare.js";
import { h } from "./dom.js";
import { openViewer } from "./viewer.js";
import { OVER } from "./wait.js";

const PAGE = 40;
const WANTED = 24;

export function create(app) {
  const { t, api, store } = app;
  const grid = h("div", { class: "hm-grid", id: "hm-gallery" });
  const nothing = h("p", { class: "hm-empty", hidden: true }, t("gallery.empty"));
  const trouble = h("p", { hidden: true });
  const older = h("button", { class: "hm-button", type: "button", hidden: true, onclick: () => more() }, t("gallery.more"));
  const live = h("input", { type: "checkbox", role: "switch", checked: store.get("gallery.live", false), id: "hm-gallery-live" });
  const choosing = h("div", { class: "hm-choosing", role: "status", hidden: true });
  const element = h("section", { class: "hm-gallery" },
    h("div", { class: "hm-page-bar" }, h("h1", {}, t("gallery.title")),
      h("label", { class: "hm-switch" }, live, h("span", { class: "hm-label" }, t("gallery.live")))),
    choosing, trouble, grid, nothing, h("div", { class: "hm-row center" }, older));
  let before = null, first = null, turn = 0, watched = [];

  live.addEventListener("change", () => {
    store.set("gallery.live", live.checked);
    refresh();
  });
  app.on("made", () => app.tab?.name === "gallery" && refresh());

  async function refresh() {
    turn += 1;
    stopWatching();
    before = null;
    grid.replaceChildren();
    nothing.hidden = true;
    await more();
  }

  const fits = (job) => (live.checked || job.priority !== "live") && !["replaced", "expired"].includes(job.state);

  // Live jobs are many and mostly hidden: pages are asked for until there is something to show.
  async function more() {
    const mine = turn;
    grid.setAttribute("aria-busy", "true");
    app.fail(null, trouble);
    try {
      for (let shown = 0, last = false; shown < WANTED && !last;) {
        const jobs = await api.jobs({ limit: PAGE, before });
        if (mine !== turn) return;
        last = jobs.length < PAGE;
        before = jobs.at(-1)?.created ?? before;
        const wanted = jobs.filter(fits);
        shown += wanted.length;
        wanted.forEach((job) => grid.append(card(job)));
        older.hidden = last;
      }
      nothing.hidden = grid.childElementCount > 0;
    } catch (error) {
      app.fail(error, trouble);
    } finally {
      if (mine === turn) grid.removeAttribute("aria-busy");
    }
  }

  function card(job) {
    const holder = h("article", { class: "hm-cards", "data-job": job.id });
    draw(holder, job);
    if (!OVER.has(job.state)) watched.push(api.watch(job.id, (event) => draw(holder, event.job), { ask: true }));
    return holder;
  }

  function draw(holder, job) {
    if (job.state === "done") holder.replaceChildren(...job.pictures.map((picture) => pictureCard(job, picture)));
    else holder.replaceChildren(wordCard(job));
  }

  function pictureCard(job, picture) {
    const prompt = job.summary.prompt ?? "";
    const figure = picture.units.map((unit) => Object.values(unit.fidelity ?? {})[0]).filter((one) => one !== undefined);
    return h("button", { class: "hm-picture", type: "button", "aria-label": t("gallery.open", { prompt }), onclick: () => chose(job, picture.index) },
      h("img", { src: api.imageUrl(job.id, picture.index), alt: prompt, loading: "lazy", width: picture.width, height: picture.height }),
      h("span", { class: "hm-caption" }, h("span", { class: "words" }, prompt),
        figure.length ? h("span", { class: "hm-pill" }, figure.map((one) => one.toFixed(2)).join(" · ")) : null));
  }

  function wordCard(job) {
    const failed = job.state === "failed";
    const words = failed ? (job.error?.what ?? t("gallery.failed")) : t(`state.${job.state}`);
    const bar = OVER.has(job.state) ? null : h("progress", { max: 1, value: job.progress, "aria-label": words });
    return h("div", { class: `hm-picture words ${job.state}` }, h("p", { class: failed ? "hm-error" : "" }, words), bar,
      h("span", { class: "hm-caption" }, h("span", { class: "words" }, job.summary?.prompt ?? "")));
  }

  function chose(job, index) {
    if (!first) return open(job, index);
    const [one, two] = [first, { job, index }].map(({ job: of, index: k }) => ({ url: api.imageUrl(of.id, k), words: nameOf(of, k) }));
    choose(null);
    return openCompare(app, one, two);
  }

  const nameOf = (job, k) => t("gallery.details", { seed: job.pictures.find((one) => one.index === k)?.seed ?? "" });

  // The next picture that is clicked is compared with this one.
  function choose(picture) {
    first = picture;
    choosing.hidden = !picture;
    choosing.replaceChildren(...(picture ? [h("span", {}, t("gallery.compare.with")),
      h("button", { class: "hm-button", type: "button", onclick: () => choose(null) }, t("action.cancel"))] : []));
    if (picture) app.show("gallery");
  }

  function open(job, index) {
    openViewer(app, job, index, { choose, removed: (id) => {
      grid.querySelector(`[data-job="${id}"]`)?.remove();
      nothing.hidden = grid.childElementCount > 0;
    } });
  }

  function stopWatching() {
    watched.forEach((stop) => stop());
    watched = [];
  }

  return { name: "gallery", element, open, refresh, shown: refresh, hidden: stopWatching };
}
