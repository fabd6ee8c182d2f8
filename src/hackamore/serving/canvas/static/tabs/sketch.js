// Sketch: dark lines on paper. A control is given white lines on black: strokes as they are for scribbles, thinned to
// one pixel for edges. Which of the two can be had, the base's controls decide.
import { h } from "../dom.js";
import { base64, encoded } from "../png.js";
import { Raster } from "../raster.js";
import { pixelsOf } from "../reading.js";
import { thinned } from "../thin.js";
import { createKeys, createLayers, createSize, createTools } from "../raster_tools.js";
import { takers } from "../unit_values.js";

const PAPER = [[250, 249, 245, 0], [32, 36, 40, 255]];
const WAYS = { scribble: ["scribble", "canny", "softedge", "lineart"], edges: ["canny", "lineart", "softedge", "mlsd", "scribble"] };
const THIN = new Set(["canny", "mlsd"]);
const LINES = new Set(["canny", "mlsd", "scribble", "lineart", "softedge"]);
const PEN = { scribble: 40, edges: 100 }; // so many strokes lie side by side in the picture

export function create(app) {
  const { t } = app;
  const [width, height] = app.settings.size();
  const raster = new Raster({
    width, height, colours: PAPER, tools: ["brush", "line", "box", "ring", "eraser"], label: t("sketch.drawing"),
    changed: () => app.emit("changed", "sketch"), stroking: (busy) => app.emit("stroke", busy),
  });
  const keys = createKeys(raster);
  let way = app.store.get("sketch", "scribble");
  const ways = Object.keys(WAYS).map((name) => h("button", { class: "sk-way", type: "button", role: "radio", "data-way": name, title: t(`sketch.${name}.title`), onclick: () => choose(name) }, t(`sketch.${name}`)));
  const says = h("p", { class: "sk-says hm-quiet" });
  let tracing = null; // the address of the picture under the paper
  const under = h("div", { class: "sk-under", hidden: true });
  const file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => trace(file.files[0]) });
  const traced = h("button", { class: "hm-button small", type: "button", "data-act": "trace", title: t("sketch.trace.title"), onclick: () => (under.hidden ? file.click() : untrace()) }, t("sketch.trace"));
  const element = h("div", { class: "pt sk" }, createTools(app, raster),
    h("div", { class: "pt-work" }, raster.element,
      h("div", { class: "sk-row" }, h("div", { class: "sk-ways", role: "radiogroup", "aria-label": t("sketch.way"), onkeydown: turn }, ways), traced, file), says,
      h("div", { class: "pt-more" }, createSize(app, raster, "hm-pen"), createLayers(app, raster, { opacity: true }))));
  raster.element.classList.add("sk-paper");
  raster.element.prepend(under);

  // The kind of hint that this way comes to with the controls of the base.
  function kind() {
    return WAYS[way].find((one) => takers(app.info, app.base().name, one).some((control) => control.kind)) ?? WAYS[way][0];
  }

  function choose(name) {
    if (way === name) return;
    way = name;
    app.store.set("sketch", way);
    pen();
    draw();
    if (!raster.empty) app.emit("changed", "sketch");
  }

  function turn(event) {
    if (!event.key.startsWith("Arrow")) return;
    choose(way === "edges" ? "scribble" : "edges");
    ways.find((button) => button.dataset.way === way).focus();
    event.preventDefault();
  }

  function pen() {
    raster.size = Math.max(raster.width, raster.height) / PEN[way];
  }

  function draw() {
    for (const button of ways) {
      const chosen = button.dataset.way === way;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    const name = t.has(`kind.${kind()}`) ? t(`kind.${kind()}`) : kind();
    says.textContent = t(THIN.has(kind()) ? "sketch.says.thin" : "sketch.says", { kind: name });
  }

  // A picture under the paper, to draw after; it goes nowhere.
  function trace(chosen) {
    file.value = "";
    if (!chosen) return;
    const url = URL.createObjectURL(chosen);
    const image = new Image();
    image.onload = () => {
      tracing = url;
      under.style.backgroundImage = `url("${url}")`;
      under.hidden = false;
      traced.setAttribute("aria-pressed", "true");
    };
    image.onerror = () => {
      URL.revokeObjectURL(url);
      app.toast(t("sketch.trace.wrong", { name: chosen.name }), "error");
    };
    image.src = url;
  }

  function untrace() {
    under.hidden = true;
    under.style.backgroundImage = "";
    URL.revokeObjectURL(tracing);
    traced.setAttribute("aria-pressed", "false");
  }

  async function hint() {
    if (raster.empty) return null;
    const to = kind();
    const lines = raster.strength();
    if (THIN.has(to)) {
      const thin = thinned(lines);
      thin.data.forEach((value, at) => (lines.data[at] = value ? 255 : 0));
    }
    return { kind: to, image: `data:image/png;base64,${await base64(await encoded(lines))}`, hint: "exact" };
  }

  // Lines of some request come back as one layer.
  async function take(source) {
    const pixels = await pixelsOf(source.image, raster.width, raster.height);
    const data = Uint8Array.from({ length: pixels.length / 4 }, (_, at) => (pixels[4 * at] > 100 ? 1 : 0));
    raster.change((layers) => {
      layers.clear();
      layers.active.picture = { width: raster.width, height: raster.height, data };
    });
    return true;
  }

  pen();
  draw();
  app.on("base", draw);
  app.on("size", ([wide, high]) => raster.resize(wide, high));
  return {
    element, name: "sketch", raster, hint, take, takes: (source) => LINES.has(source.kind) && Boolean(source.hint && source.image),
    empty: () => raster.empty, state: () => ({ way, ...raster.state() }), shown: keys.on, hidden: keys.off,
    restore(state) {
      if (state?.way in WAYS) way = state.way;
      raster.restore(state);
      draw();
    },
  };
}
