// One picture, large: what it was made of, its figures, and what can be done with it.
import { openCompare } from "./compare.js";
import { h, icon } from "./dom.js";

const SURE = 4000;
const LONG = 200;

export function openViewer(app, job, index, { choose, removed }) {
  const { t, api } = app;
  const body = h("div", { class: "hm-viewer-body" });
  const trouble = h("p", { hidden: true });
  const close = h("button", { class: "hm-button quiet square", "aria-label": t("action.close"), onclick: () => dialog.close() }, icon("close"));
  const title = h("h2", {});
  const dialog = h("dialog", { class: "hm-dialog hm-viewer", onkeydown: turn }, h("div", { class: "hm-dialog-bar" }, title, close), body);
  let at = Math.max(job.pictures.findIndex((one) => one.index === index), 0);

  function draw() {
    const picture = job.pictures[at];
    title.textContent = t("gallery.details", { seed: picture.seed });
    dialog.setAttribute("aria-label", title.textContent);
    app.fail(null, trouble);
    body.replaceChildren(
      h("div", { class: "hm-viewer-picture" },
        h("img", { src: api.imageUrl(job.id, picture.index), alt: job.summary.prompt ?? "" }), siblings()),
      h("div", { class: "hm-viewer-side" }, h("p", { class: "hm-prompt" }, job.summary.prompt ?? ""),
        actions(picture), trouble, facts(picture), units(picture), notices(), recipe(picture)));
  }

  function siblings() {
    if (job.pictures.length < 2) return null;
    return h("div", { class: "hm-thumbs" }, job.pictures.map((picture, number) => h("button", {
      class: "hm-thumb", type: "button", "aria-current": number === at ? "true" : null,
      onclick: () => { at = number; draw(); },
    }, h("img", { src: api.imageUrl(job.id, picture.index), alt: t("gallery.details", { seed: picture.seed }) }))));
  }

  function turn(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || job.pictures.length < 2 || event.target.matches("input, pre")) return;
    at = (at + step + job.pictures.length) % job.pictures.length;
    draw();
  }

  function actions(picture) {
    const file = (format, ending) => ({ href: api.imageUrl(job.id, picture.index, format), download: `hackamore-${picture.seed}${ending}`, class: "hm-button" });
    return h("div", { class: "hm-actions" },
      h("button", { class: "hm-button primary", type: "button", "data-action": "again", onclick: () => again(picture) }, icon("again"), t("gallery.again")),
      h("button", { class: "hm-button", type: "button", "data-action": "compare", onclick: () => compareOther(picture) }, icon("compare"), t("gallery.compare")),
      h("a", { ...file(null, ".png"), "data-action": "png" }, icon("down"), t("gallery.png")),
      h("a", { ...file("ora", ".ora"), "data-action": "ora" }, icon("down"), t("gallery.ora")),
      h("a", { ...file("recipe", ".json"), "data-action": "recipe" }, icon("down"), t("gallery.recipe")),
      removeButton());
  }

  async function again(picture) {
    try {
      const asked = await api.request(job.id);
      await app.restore({ ...asked, seed: picture.seed, num: 1 });
      dialog.close();
      if (!app.tab?.hint) app.show(app.store.get("tab.work", "paint"));
      app.toast(t("gallery.again.done"), "good");
    } catch (error) {
      app.fail(error, trouble);
    }
  }

  function compareOther(picture) {
    dialog.close();
    choose({ job, index: picture.index });
  }

  function removeButton() {
    let sure = false;
    const button = h("button", { class: "hm-button danger", type: "button", "data-action": "remove", onclick: remove }, icon("trash"), t("gallery.remove"));
    async function remove() {
      if (!sure) {
        sure = true;
        button.replaceChildren(icon("trash"), t("gallery.remove.sure"));
        setTimeout(() => {
          sure = false;
          button.replaceChildren(icon("trash"), t("gallery.remove"));
        }, SURE);
        return;
      }
      try {
        await api.remove(job.id);
        dialog.close();
        removed(job.id);
      } catch (error) {
        app.fail(error, trouble);
      }
    }
    return button;
  }

  function facts(picture) {
    const asked = job.summary;
    return list([
      [t("settings.base"), asked.base], [t("settings.seed"), picture.seed], [t("settings.size"), `${picture.width} × ${picture.height}`],
      [t("settings.steps"), asked.steps], [t("settings.guidance"), asked.guidance], [t("settings.scheduler"), asked.scheduler],
      [t("settings.speed"), t(`settings.speed.${asked.fast ?? 0}`)], [t("settings.strength"), asked.strength], [t("settings.negative"), asked.negative],
    ]);
  }

  function units(picture) {
    if (!picture.units.length) return h("p", { class: "hm-quiet" }, t("gallery.none"));
    return h("div", { class: "hm-unit-reports" }, h("h3", {}, t("gallery.units")), picture.units.map((unit, number) => {
      const hint = { url: api.hintUrl(job.id, number), words: `${t("gallery.hint")}: ${unit.kind ?? unit.control}` };
      const shown = { url: api.imageUrl(job.id, picture.index), words: t("compare.picture") };
      return h("div", { class: "hm-unit-report" },
        number < job.hints ? h("button", { class: "hm-thumb", type: "button", "aria-label": `${t("gallery.compare")}: ${hint.words}`, onclick: () => openCompare(app, shown, hint) },
          h("img", { src: hint.url, alt: hint.words })) : null,
        h("div", {}, h("strong", {}, unit.control), h("p", { class: "hm-quiet" }, words(unit)), fidelity(unit)));
    }));
  }

  function words(unit) {
    const window = t("gallery.window", { start: Math.round(100 * (unit.start ?? 0)), end: Math.round(100 * (unit.end ?? 1)) });
    return [unit.schedule ?? `× ${unit.scale ?? 1}`, unit.schedule ? null : window, unit.mode === "balanced" ? null : unit.mode,
      unit.masked ? t("gallery.masked") : null].filter(Boolean).join(" · ");
  }

  function fidelity(unit) {
    const figures = Object.entries(unit.fidelity ?? {});
    if (!figures.length) return null;
    return h("p", { class: "hm-fidelity", title: t("gallery.fidelity") },
      figures.map(([name, value], number) => h("span", { class: number ? "hm-quiet" : "hm-pill" }, `${name} ${value.toFixed(3)}`)));
  }

  function notices() {
    return job.notices.length ? h("div", { class: "hm-notices" }, h("h3", {}, t("gallery.notices")), job.notices.map((one) => h("p", {}, one))) : null;
  }

  // The Recipe as it lies in the PNG; pictures inside it are only named here, the download has all.
  function recipe(picture) {
    const text = h("pre", { tabindex: "0" });
    const details = h("details", { class: "hm-more" }, h("summary", {}, t("gallery.recipe")), text);
    details.addEventListener("toggle", async () => {
      if (!details.open || text.textContent) return;
      try {
        const shorten = (_, value) => (typeof value === "string" && value.length > LONG ? `… ${value.length}` : value);
        text.textContent = JSON.stringify(await api.recipe(job.id, picture.index), shorten, 1);
      } catch (error) {
        app.fail(error, trouble);
      }
    });
    return details;
  }

  dialog.addEventListener("close", () => dialog.remove());
  draw();
  document.body.append(dialog);
  dialog.showModal();
}

function list(rows) {
  const told = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h("dl", { class: "hm-facts" }, told.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]).flat());
}
