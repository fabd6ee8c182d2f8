// Where a control acts: painted in a dialog over the very picture that the control is given.

import { h, icon } from "./dom.js";
import { rangeField } from "./fields.js";
import { Raster } from "./raster.js";

const TOOLS = ["brush", "rectangle", "ellipse", "fill", "eraser"];
const SHOWN = [[0, 0, 0, 0], [255, 90, 60, 150]];
const WRITTEN = [[0, 0, 0], [255, 255, 255]];

// The mask as painted, a data address; null where nothing is white; undefined where the person changed their mind.
export async function paintMask(app, before, picture) {
  const { t } = app;
  const [width, height] = app.settings.size();
  const raster = new Raster({ width, height, colours: SHOWN, tools: TOOLS, label: t("units.mask.editor") });
  if (picture) raster.element.style.backgroundImage = `url("${picture}")`;
  raster.element.classList.add("un-mask-frame");
  const size = rangeField({ id: "un-mask-size", label: t("units.mask.size"), min: 1, max: raster.largest, step: 1, value: raster.size });
  size.input.addEventListener("input", () => (raster.size = size.value()));
  const buttons = TOOLS.map((name) => h("button", { class: "hm-button", type: "button", "data-tool": name, "aria-pressed": name === raster.tool,
    onclick: () => (raster.tool = name) }, t(`units.tool.${name}`)));
  const act = (name, shape, done) =>
    h("button", { class: "hm-button quiet", type: "button", "data-act": name, onclick: done }, shape && icon(shape), t(`units.mask.${name}`));
  const dialog = h("dialog", { class: "hm-dialog un-mask-dialog", "aria-label": t("units.mask.editor") },
    h("p", { class: "un-mask-how" }, t("units.mask.how")), h("div", { class: "un-mask-tools" }, h("div", { class: "un-mask-buttons" }, buttons), size.element),
    raster.element,
    h("div", { class: "un-row" }, act("undo", null, () => raster.undo()), act("redo", null, () => raster.redo()),
      act("invert", null, () => inverted(raster)), act("empty", null, () => raster.clear())),
    h("div", { class: "un-row end" }, act("cancel", null, () => dialog.close()),
      h("button", { class: "hm-button primary", type: "button", "data-act": "keep", onclick: () => dialog.close("keep") }, t("units.mask.keep"))));
  raster.listen(() => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.tool === raster.tool));
    size.set(raster.size);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target !== size.input && raster.key(event)) event.stopPropagation();
  });
  if (before) await load(raster, before); // first, so that no stroke comes before it
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", async () => {
      dialog.remove();
      if (dialog.returnValue !== "keep") answer(undefined);
      else answer(raster.empty ? null : `data:image/png;base64,${await raster.file(WRITTEN)}`);
    });
  });
}

// All that was not painted, and nothing that was.
function inverted(raster) {
  const { data } = raster.flat();
  raster.change((layers) => write(layers, data.map((value) => (value ? 0 : 1))));
}

async function load(raster, mask) {
  const image = new Image();
  image.src = mask;
  await image.decode();
  const canvas = h("canvas");
  [canvas.width, canvas.height] = [raster.width, raster.height];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, raster.width, raster.height);
  const { data } = context.getImageData(0, 0, raster.width, raster.height);
  raster.change((layers) => write(layers, Uint8Array.from({ length: data.length / 4 }, (_, at) => (data[4 * at] > 127 ? 1 : 0))));
}

// A new picture of the same layer, so that the step before it keeps its own.
function write(layers, data) {
  const { picture } = layers.active;
  layers.active.picture = { ...picture, data };
}
