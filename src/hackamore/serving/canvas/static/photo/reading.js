// One way of reading the photo: its hint as it will be, its parameters, what was told about it.

import { h, icon } from "../dom.js";
import { createParameters } from "./parameters.js";

const PAUSE = 150; // milliseconds after a handle is let go

// A card for an annotator {kind, parameters, plain}; of a plain one the photo itself is the hint. `acts`: {photo(), size(), changed(), pin(reading), remove(reading),
// edit(people)}. Answers {element, kind, hint, refresh(), request(), state(), restore(state), settled()}.
export function createReading(app, annotator, acts) {
  const { t } = app;
  const { kind } = annotator;
  const title = t.has(`kind.${kind}`) ? t(`kind.${kind}`) : kind.replace(/_/g, " ");
  const picture = h("img", { class: "ph-hint", alt: t("photo.hint.alt", { kind: title }), hidden: true });
  const busy = h("span", { class: "ph-busy", hidden: true, role: "status" }, t("photo.reading"));
  const trouble = h("p", { hidden: true });
  const notices = h("p", { class: "ph-notices", hidden: true });
  const parameters = createParameters(t, annotator.parameters ?? [], adjusted);
  const pin = h("button", { class: "hm-button", type: "button", "data-act": "pin", title: t("units.pin.why"), disabled: true, onclick: () => acts.pin(reading) }, t("photo.pin"));
  const edit = h("button", { class: "hm-button", type: "button", "data-act": "edit", hidden: true, onclick: () => acts.edit(people) }, t("photo.edit"));
  const remove = h("button", { class: "hm-button quiet square", type: "button", "data-act": "drop", "aria-label": t("photo.drop", { kind: title }), onclick: () => acts.remove(reading) }, icon("close"));
  const settings = parameters.element.children.length
    ? h("details", { class: "hm-more ph-more" }, h("summary", {}, t("photo.parameters")), parameters.element) : null;
  const element = h("article", { class: "ph-reading", "data-kind": kind, "aria-label": title },
    h("div", { class: "ph-head" }, h("strong", {}, title), remove),
    h("div", { class: "ph-hint-frame" }, picture, busy), trouble, notices, settings, h("div", { class: "ph-row" }, pin, edit));
  const reading = { element, kind, hint: null, refresh, request, settled: () => open };
  reading.state = () => ({ kind, parameters: parameters.value() });
  reading.restore = (told) => parameters.set(told.parameters);
  let people = null;
  let turn = 0;
  let timer = null;
  let asking = null;
  let open = Promise.resolve();

  function adjusted() {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().then((good) => good && acts.changed()), PAUSE);
  }

  // The hint of the present photo with the present parameters; of several answers only the newest counts.
  function refresh() {
    open = ask();
    return open;
  }

  async function ask() {
    const photo = acts.photo();
    if (!photo) return false;
    turn += 1;
    const mine = turn;
    asking?.abort();
    asking = new AbortController();
    busy.hidden = false;
    element.setAttribute("aria-busy", "true");
    try {
      const made = annotator.plain ? { image: photo.image } : await app.api.annotate(kind, photo.image, parameters.value(), { size: acts.size(), signal: asking.signal });
      if (mine !== turn) return false;
      show(made);
      return true;
    } catch (error) {
      if (mine === turn && error.name !== "AbortError") show(null, error);
      return false;
    } finally {
      if (mine === turn) {
        busy.hidden = true;
        element.removeAttribute("aria-busy");
      }
    }
  }

  function show(made, error = null) {
    reading.hint = made ? dressed(made.image) : null;
    people = made?.people ?? null;
    picture.hidden = !made;
    if (made) picture.src = reading.hint;
    notices.hidden = !made?.notices?.length;
    notices.textContent = made?.notices?.join("\n") ?? "";
    pin.disabled = !made;
    edit.hidden = !people || !app.tabs.pose;
    app.fail(error, trouble);
  }

  // What a unit is told: the photo and how it is read, or whom it shows.
  function request() {
    if (!reading.hint) return null;
    const given = parameters.value();
    if (people) return { kind: "pose", people };
    return { kind, image: acts.photo().image, ...(Object.keys(given).length && { parameters: given }) };
  }

  return reading;
}

const dressed = (image) => (image.startsWith("data:") ? image : `data:image/png;base64,${image}`);
