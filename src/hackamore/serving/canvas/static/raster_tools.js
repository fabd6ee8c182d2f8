// The tools of a raster editor as elements: a bar of tools, a size, a list of layers. Several editors may have their own.
import { h } from "./dom.js";
import { rangeField } from "./fields.js";
import { MOST_LAYERS } from "./layers.js";
import { svg } from "./parts.js";

const SHAPES = {
  brush: "M15.5 4.5 20 9l-9 8.5-4.5-4.5zM6.5 13c-2 .3-3 2-3 6.5 4 .3 6.5-.6 7.5-2",
  line: "M5 19 19 5",
  rectangle: "M4 6h16v12H4zM8 14l6-6M12 16l5-5",
  ellipse: "M12 5c5 0 9 3 9 7s-4 7-9 7-9-3-9-7 4-7 9-7zM8 14l5-5M12 16l4-4",
  box: "M4 6h16v12H4z",
  ring: "M12 5c5 0 9 3 9 7s-4 7-9 7-9-3-9-7 4-7 9-7z",
  fill: "M10 4l8.5 8.5-7 7L3 11zM10 4 8 2M3.5 11.5h14M20.5 16.5c1.2 1.7 1.5 2.3 1.5 3a1.5 1.5 0 0 1-3 0c0-.7.3-1.300 1.5-3z",
  eraser: "M14 5l6 6-8.5 8.5H8L4 15.5zM9 10l6 6M12 19.500h8",
  undo: "M8 5 4 9l4 4M4 9h9a6 6 0 0 1 0 12h-3",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 0 0 0 12h3",
  clear: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  near: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20M10.5 8v5M8 10.5h5",
  far: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20M8 10.5h5",
  seen: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  unseen: "M4 4l16 16M9.5 6c.8-.3 1.6-.5 2.5-.5 6 0 9.5 6.5 9.5 6.5s-1 2-3 3.700M6 8C3.700 9.700 2.5 12 2.5 12S6 18.5 12 18.5c1.400 0 2.700-.3 3.800-.8",
  up: "M6 14l6-6 6 6",
  down: "M6 10l6 6 6-6",
  add: "M12 5v14M5 12h14",
};
const KEYS = { brush: "B", line: "L", rectangle: "R", ellipse: "O", fill: "F", eraser: "E", undo: "Ctrl+Z", redo: "Ctrl+Shift+Z", near: "+", far: "−" };

// A line drawing of 24 units.
const glyph = (name) => svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: SHAPES[name] }));

function tool(t, name, done, more = {}) {
  const words = t(`tool.${name}`);
  const shown = KEYS[name] ? `${words} (${KEYS[name]})` : words;
  return h("button", { class: "tb-tool", type: "button", "aria-label": words, title: shown, "data-tool": name, onclick: done, ...more }, glyph(name));
}

// The tools, then what can be done with the whole: a column, or a row that scrolls on a narrow screen.
export function createTools(app, raster) {
  const { t } = app;
  const tools = raster.tools.map((name) => tool(t, name, () => (raster.tool = name), { role: "radio" }));
  const undo = tool(t, "undo", () => raster.undo());
  const redo = tool(t, "redo", () => raster.redo());
  const clear = tool(t, "clear", () => raster.clear());
  const near = tool(t, "near", () => raster.view.scale(1.5));
  const far = tool(t, "far", () => raster.view.scale(1 / 1.5));
  const group = h("div", { class: "tb-group", role: "radiogroup", "aria-label": t("tool.tools"), onkeydown: turn }, tools);
  const element = h("div", { class: "tb" }, group, h("div", { class: "tb-group" }, undo, redo, clear), h("div", { class: "tb-group" }, near, far));

  function turn(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (raster.tools.indexOf(raster.tool) + step + raster.tools.length) % raster.tools.length;
    raster.tool = raster.tools[at];
    tools[at].focus();
    event.preventDefault();
  }

  function draw() {
    for (const button of tools) {
      const chosen = button.dataset.tool === raster.tool;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    const [done, undone] = raster.depth;
    undo.disabled = done === 0;
    redo.disabled = undone === 0;
  }

  raster.listen(draw);
  draw();
  return element;
}

// How wide the brush is, in pixels of the picture.
export function createSize(app, raster, id) {
  const size = rangeField({ id, label: app.t("tool.size"), min: 1, max: raster.largest, step: 1, value: raster.size });
  size.input.addEventListener("input", () => (raster.size = size.value()));
  raster.listen(() => {
    size.input.max = raster.largest;
    size.set(raster.size);
  });
  return size.element;
}

// The layers, the highest first; `opacity` gives each a slider.
export function createLayers(app, raster, { opacity = false } = {}) {
  const { t } = app;
  const list = h("ul", { class: "ly-list" });
  const add = h("button", { class: "hm-button small", type: "button", "data-act": "layer-add", onclick: added }, glyph("add"), t("layer.add"));
  const element = h("details", { class: "hm-more ly" }, h("summary", {}, t("layer.layers")), list, add);
  const change = (layer, act) => raster.change((layers) => act(layers.find(layer.id), layers));
  let drawn = null;

  function added() {
    raster.change((layers) => (layers.all.length < MOST_LAYERS ? Boolean(layers.add()) : false));
  }

  function row(layer) {
    const { all, active } = raster.layers;
    const act = (name, shape, off, done) => h("button", { class: "ly-act", type: "button", "aria-label": t(`layer.${name}`, { name: layer.name }),
      title: t(`layer.${name}`, { name: layer.name }), "data-act": name, disabled: off, onclick: done }, glyph(shape));
    const see = act(layer.visible ? "hide" : "show", layer.visible ? "seen" : "unseen", false, () => change(layer, (one) => { one.visible = !one.visible; }));
    const name = h("button", { class: "ly-name", type: "button", "aria-pressed": String(layer === active), onclick: () => raster.choose(layer.id) }, t("layer.name", { name: layer.name }));
    return h("li", { class: "ly-row", "data-chosen": String(layer === active) }, see, name, opacity ? strength(layer) : null,
      act("up", "up", layer === all[all.length - 1], () => change(layer, (one, layers) => layers.move(one.id, 1))),
      act("down", "down", layer === all[0], () => change(layer, (one, layers) => layers.move(one.id, -1))),
      act("remove", "clear", all.length === 1, () => change(layer, (one, layers) => layers.remove(one.id))));
  }

  function strength(layer) {
    const share = layer.opacity * 100;
    return h("input", { type: "range", class: "ly-opacity", min: 5, max: 100, step: 5, value: share, style: `--share: ${share}%`,
      "aria-label": t("layer.opacity", { name: layer.name }), onchange: (event) => change(layer, (one) => { one.opacity = event.target.value / 100; }) });
  }

  function draw() {
    const { all, active } = raster.layers;
    const now = JSON.stringify([all.map((one) => [one.id, one.name, one.visible, one.opacity]), active.id]);
    add.disabled = all.length >= MOST_LAYERS;
    if (now === drawn) return;
    drawn = now;
    list.replaceChildren(...[...all].reverse().map(row));
  }

  raster.listen(draw);
  draw();
  return element;
}

// Shortcuts of the editor, wherever the focus is, while its tab is shown and nothing is being typed.
export function createKeys(raster, more = () => false) {
  const heard = (event) => {
    const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable], dialog");
    if (!typing && !event.defaultPrevented && !raster.key(event)) more(event);
  };
  return { on: () => document.addEventListener("keydown", heard), off: () => document.removeEventListener("keydown", heard) };
}
