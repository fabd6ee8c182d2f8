// The parameters of an annotator as fields, from what /v1/annotators tells of them.

import { h, icon } from "../dom.js";
import { clamp, short } from "../parts.js";

// Fields for `described` = [{name, type, default, minimum, maximum, choices, meaning}]. `told(values)` is called
// when a handle is let go; values hold only what differs from the default. Answers {element, value(), set(values)}.
export function createParameters(t, described, told) {
  const fields = described.map((one) => makers[one.type]?.(t, one, changed)).filter(Boolean);
  const reset = h("button", { class: "hm-button quiet", type: "button", "data-act": "defaults", onclick: () => {
    for (const field of fields) field.set(undefined);
    changed();
  } }, t("photo.defaults"));
  const element = h("div", { class: "ph-parameters" }, fields.map((field) => field.element), fields.length ? reset : null);
  let before = JSON.stringify(value());

  function value() {
    const pairs = fields.map((field) => [field.name, field.value()]);
    return Object.fromEntries(pairs.filter(([, one]) => one !== undefined));
  }

  function changed() {
    const now = JSON.stringify(value());
    if (now === before) return;
    before = now;
    told(value());
  }

  return {
    element,
    value,
    set(values) {
      for (const field of fields) field.set(values?.[field.name]);
      before = JSON.stringify(value());
    },
  };
}

// text names files or models, which are the operator's business
const makers = { integer: number, number, boolean, choice };
const words = (one) => one.name.replace(/_/g, " ");

// A slider with its figure; where there is no default, the annotator chooses itself until the slider is touched.
function number(t, one, changed) {
  const whole = one.type === "integer";
  const [low, high] = range(one, whole);
  const step = whole ? 1 : (high - low) / 100;
  const start = one.default ?? low + (high - low) / (one.default === null ? 5 : 2);
  let given;
  const input = h("input", { type: "range", min: low, max: high, step, value: start, "data-parameter": one.name, "aria-label": words(one) });
  const shown = h("output", { class: "hm-figure" });
  const free = h("button", { class: "ph-auto", type: "button", hidden: true, "data-auto": one.name, onclick: () => {
    set(undefined);
    changed();
  } }, t("photo.auto"));
  const draw = () => {
    input.style.setProperty("--share", `${((Number(input.value) - low) / (high - low || 1)) * 100}%`);
    input.classList.toggle("auto", given === undefined && one.default === null);
    free.hidden = given === undefined || one.default !== null;
    shown.textContent = given === undefined && one.default === null ? t("photo.auto") : short(input.value, 3);
  };

  function set(value) {
    given = value === undefined || value === one.default ? undefined : clamp(Number(value), low, high);
    input.value = given ?? start;
    draw();
  }

  const read = () => (whole ? Math.round(Number(input.value)) : Number(short(input.value, 4)));
  input.addEventListener("input", () => {
    given = read() === one.default ? undefined : read();
    draw();
  });
  input.addEventListener("change", changed);
  draw();
  const element = h("div", { class: "hm-field range", title: one.meaning }, h("span", { class: "hm-label" }, words(one)),
    h("span", { class: "ph-value" }, free, shown), input);
  return { name: one.name, element, set, value: () => given };
}

// Where the slider ends. A bound may itself be out of range, so that of fractions it is not quite reached.
function range(one, whole) {
  const low = one.minimum ?? 0;
  const high = one.maximum ?? Math.max(whole ? 255 : 1, 4 * (one.default ?? 0));
  const nudge = whole ? 0 : (high - low) / 1000;
  return [low === one.default ? low : low + nudge, high === one.default ? high : high - nudge];
}

function boolean(t, one, changed) {
  const input = h("input", { type: "checkbox", role: "switch", checked: one.default === true, "data-parameter": one.name });
  input.addEventListener("change", changed);
  return {
    name: one.name,
    element: h("label", { class: "hm-switch", title: one.meaning }, input, h("span", { class: "hm-label" }, words(one))),
    set: (value) => (input.checked = value ?? one.default === true),
    value: () => (input.checked === (one.default === true) ? undefined : input.checked),
  };
}

function choice(t, one, changed) {
  const first = Math.max(0, one.choices.indexOf(one.default));
  const input = h("select", { class: "hm-input", "data-parameter": one.name, onchange: changed }, one.choices.map((name, at) => h("option", { value: at }, String(name))));
  const set = (value) => (input.value = value === undefined ? first : one.choices.indexOf(value));
  set(undefined);
  return {
    name: one.name,
    element: h("label", { class: "hm-field", title: one.meaning }, h("span", { class: "hm-label" }, words(one)),
      h("span", { class: "hm-select" }, input, icon("chevron"))),
    set,
    value: () => (Number(input.value) === first ? undefined : one.choices[Number(input.value)]),
  };
}
