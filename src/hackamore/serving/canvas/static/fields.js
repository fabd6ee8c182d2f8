// Labelled inputs. Each gives {element, input} and, of numbers, value() and set(); wrong numbers go back to the nearest.
import { h, icon } from "./dom.js";

export function field(label, input) {
  return h("label", { class: "hm-field" }, h("span", { class: "hm-label" }, label), input);
}

function bounded(input, min, max, otherwise) {
  const value = Number(input.value);
  return input.value === "" || !Number.isFinite(value) ? otherwise : Math.min(Math.max(value, min), max);
}

export function numberField({ id, label, min, max, step, value }) {
  const input = h("input", { class: "hm-input", id, type: "number", min, max, step, inputmode: "numeric", value });
  let last = value;
  const read = () => Math.round(bounded(input, min, max, last));
  input.addEventListener("change", () => {
    last = read();
    input.value = last;
  });
  return { element: field(label, input), input, value: read, set: (now) => (input.value = last = now) };
}

export function rangeField({ id, label, min, max, step, value }) {
  const shown = h("output", { class: "hm-figure", for: id });
  const input = h("input", { id, type: "range", min, max, step, value });
  const draw = () => {
    const share = (Number(input.value) - min) / (max - min || 1);
    input.style.setProperty("--share", `${share * 100}%`);
    shown.textContent = String(Number(input.value));
  };
  input.addEventListener("input", draw);
  draw();
  const set = (now) => {
    input.value = now;
    draw();
  };
  const element = h("label", { class: "hm-field range", for: id }, h("span", { class: "hm-label" }, label), shown, input);
  return { element, input, value: () => Number(input.value), set };
}

export function selectField({ id, label }) {
  const input = h("select", { class: "hm-input", id });
  const fill = (options, value) => {
    input.replaceChildren(...options.map(([name, words]) => h("option", { value: name }, words)));
    if (value !== undefined) input.value = value;
    input.closest(".hm-field").hidden = options.length < 2;
  };
  const element = field(label, h("span", { class: "hm-select" }, input, icon("chevron")));
  return { element, input, fill };
}

export function switchField({ id, label, checked }) {
  const input = h("input", { id, type: "checkbox", role: "switch", checked });
  return { element: h("label", { class: "hm-switch" }, input, h("span", { class: "hm-label" }, label)), input };
}
