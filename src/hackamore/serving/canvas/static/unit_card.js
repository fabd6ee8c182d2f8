// One unit of the stack: what it shows, whether it is on, how strongly, when, where and how it is heard.

import { createCurve } from "./curve.js";
import { rangeField, selectField, switchField } from "./fields.js";
import { h, icon } from "./dom.js";
import { MODES } from "./unit_values.js";
import { createWindow } from "./window.js";

const MOST = 2; // the scale's end; a request may ask for more, a hand seldom wants it

// A card for `unit` = {id, own, kind, values, thumb}. `acts`: {changed(), pin(), remove(), mask()} of the stack.
// Answers {element, update({thumb, known, fidelity})}.
export function createCard(app, unit, acts) {
  const { t } = app;
  const { values } = unit;
  const id = `un-${unit.id}`;
  const changed = () => {
    tell();
    acts.changed(unit);
  };
  const picture = h("img", { class: "un-thumb", alt: "", hidden: true });
  const summary = h("span", { class: "un-summary" });
  const figure = h("span", { class: "un-figure", hidden: true });
  const missing = h("p", { class: "un-missing", hidden: true });
  const on = switchField({ id: `${id}-on`, label: t("units.on"), checked: values.on });
  const scale = rangeField({ id: `${id}-scale`, label: t("units.scale"), min: 0, max: MOST, step: 0.05, value: values.scale });
  const mode = selectField({ id: `${id}-mode`, label: t("units.mode") });
  const model = selectField({ id: `${id}-model`, label: t("units.model") });
  const range = createWindow({ start: values.start, end: values.end, told: windowed,
    words: { name: t("units.window"), start: t("units.window.start"), end: t("units.window.end") } });
  const curve = createCurve({ text: values.schedule, most: MOST, words: curveWords(t), told: curved });
  const even = h("div", { class: "un-even" }, scale.element, label(t("units.window"), range.element));
  const bent = h("div", { class: "un-bent" }, curve.element);
  const by = h("div", { class: "un-by", role: "radiogroup", "aria-label": t("units.by"), onkeydown: turn },
    ["window", "curve"].map((name) => h("button", { class: "un-choice", type: "button", role: "radio", "data-by": name,
      onclick: () => choose(name) }, t(`units.by.${name}`))));
  const maskPicture = h("img", { class: "un-mask", alt: t("units.mask.alt"), hidden: true });
  const maskClear = h("button", { class: "hm-button quiet", type: "button", "data-act": "unmask", onclick: () => masked(null) }, t("units.mask.clear"));
  const mask = h("div", { class: "un-row" }, maskPicture,
    h("button", { class: "hm-button", type: "button", "data-act": "mask", onclick: async () => masked(await acts.mask(unit)) }, t("units.mask.paint")), maskClear);
  const actions = h("div", { class: "un-row end" }, unit.own
    ? h("button", { class: "hm-button quiet", type: "button", "data-act": "pin", title: t("units.pin.why"), onclick: () => acts.pin(unit) }, t("units.pin"))
    : h("button", { class: "hm-button quiet", type: "button", "data-act": "remove", onclick: () => acts.remove(unit) }, icon("trash"), t("units.remove")));
  const body = h("div", { class: "un-body" }, by, even, bent, mode.element, model.element, label(t("units.mask"), mask), actions);
  const details = h("details", { class: "un-details" },
    h("summary", { class: "un-summary-row", "aria-label": t("units.more", { kind: title() }) }, summary, icon("chevron")), body);
  const element = h("article", { class: "un-card", "data-kind": unit.kind, "data-own": unit.own ?? false, "aria-label": title() },
    h("div", { class: "un-head" }, picture, h("div", { class: "un-name" }, h("strong", {}, title()), h("span", { class: "un-from" },
      t(unit.own ? "units.own" : "units.pinned"))), figure, on.element), missing, details);

  mode.fill(MODES.map((name) => [name, t(`units.mode.${name}`)]), values.mode);
  model.fill([["", t("units.model.default")]], "");
  on.input.addEventListener("change", () => ((values.on = on.input.checked), changed()));
  scale.input.addEventListener("change", () => ((values.scale = scale.value()), changed()));
  mode.input.addEventListener("change", () => ((values.mode = mode.input.value), changed()));
  model.input.addEventListener("change", () => ((values.model = model.input.value || null), changed()));
  tell();

  function title() {
    return t.has(`kind.${unit.kind}`) ? t(`kind.${unit.kind}`) : unit.kind;
  }

  function windowed(start, end) {
    Object.assign(values, { start, end });
    changed();
  }

  function curved(text) {
    values.schedule = text;
    changed();
  }

  function choose(name) {
    if (values.by === name) return;
    values.by = name;
    changed();
  }

  function turn(event) {
    if (!event.key.startsWith("Arrow")) return;
    choose(values.by === "curve" ? "window" : "curve");
    by.querySelector("[aria-checked=true]").focus();
    event.preventDefault();
  }

  // undefined: the mask was left as it is
  function masked(made) {
    if (made === undefined || made === values.mask) return;
    values.mask = made;
    changed();
  }

  function tell() {
    const windowed = values.by === "window";
    even.hidden = !windowed;
    bent.hidden = windowed;
    for (const button of by.children) {
      const chosen = button.dataset.by === values.by;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    maskPicture.hidden = maskClear.hidden = !values.mask;
    if (values.mask) maskPicture.src = values.mask;
    else maskPicture.removeAttribute("src");
    const share = (value) => Math.round(value * 100);
    const strength = windowed ? `${values.scale} · ${share(values.start)}–${share(values.end)} %` : t("units.by.curve");
    const parts = [strength, values.mode !== "balanced" && t(`units.mode.${values.mode}`), values.mask && t("units.masked")];
    summary.textContent = parts.filter(Boolean).join(" · ");
    element.classList.toggle("off", !values.on);
  }

  function update({ thumb, known, fidelity }) {
    picture.hidden = !thumb;
    if (thumb) picture.src = thumb;
    model.fill([["", t("units.model.default")], ...known.map((one) => [one.name, one.name])], values.model ?? "");
    model.element.hidden = known.length < 2;
    missing.hidden = known.length > 0;
    missing.textContent = known.length ? "" : t("units.missing", { base: app.base().name, kind: title() });
    const [name, value] = Object.entries(fidelity ?? {})[0] ?? [];
    figure.hidden = value === undefined;
    figure.textContent = value === undefined ? "" : value.toFixed(2);
    figure.title = value === undefined ? "" : `${t("units.fidelity")}: ${name} ${value.toFixed(3)}`;
    figure.setAttribute("aria-label", figure.title);
  }

  return { element, update };
}

const label = (words, inside) => h("div", { class: "hm-field" }, h("span", { class: "hm-label" }, words), inside);

function curveWords(t) {
  const names = ["name", "how", "text", "wrong", "add", "remove", "fade", "rise", "flat"];
  return Object.fromEntries(names.map((name) => [name, t(`curve.${name}`)]));
}
