// Tools as pictures in a row or a column: a button with a name that is read aloud and shown when one rests on it.
import { h } from "./dom.js";
import { svg } from "./parts.js";

const SHAPES = {
  add: "M12 3.5a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2zM8 20v-4.5H6.5V12a2 2 0 0 1 2-2h5M18 13v7M14.5 16.5h7",
  mirror: "M12 3v18M9 7 3.5 17H9zM15 7l5.5 10H15z",
  smaller: "M4 12h16M9 7v10M15 7v10M6.5 9.5 9 12l-2.5 2.5M17.5 9.5 15 12l2.5 2.5",
  larger: "M4 12h16M7 9l-3 3 3 3M17 9l3 3-3 3M12 7v10",
  undo: "M8 6 4 10l4 4M4 10h9.5a5.5 5.5 0 0 1 0 11H9",
  redo: "M16 6l4 4-4 4M20 10h-9.5a5.5 5.5 0 0 0 0 11H15",
  joint: "M10 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM16 12h6",
  person: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  choose: "M4 17v2.5h16V17M12 15V4M7.5 8.5 12 4l4.5 4.5",
  camera: "M4 8h3.5l1.5-2.5h6L16.5 8H20v11H4zM12 10a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4z",
  away: "M6 6l12 12M18 6 6 18",
};

export const symbol = (name) =>
  svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: SHAPES[name] }));

export const tool = (name, words, done) =>
  h("button", { class: "un-tool", type: "button", "data-act": name, "aria-label": words, title: words, onclick: done }, symbol(name));

// A tool that lets one choose: the list is the browser's own, under the picture. `told(value)` once one is chosen.
export function chooser(name, words, options, told) {
  const select = h("select", { "aria-label": words, title: words, "data-act": name }, h("option", { value: "" }, words),
    options.map(([value, text]) => h("option", { value }, text)));
  select.addEventListener("change", () => {
    const { value } = select;
    select.value = "";
    if (value) told(value);
  });
  return h("span", { class: "un-tool" }, symbol(name), select);
}
