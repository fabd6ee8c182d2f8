// Paint: material brushes of the worlds' palette. A landscape is never empty: under all layers lie sky and grass.
import { createColours } from "../colours.js";
import { h } from "../dom.js";
import { blank } from "../pixels.js";
import { Raster } from "../raster.js";
import { nearest, pixelsOf } from "../reading.js";
import { createKeys, createLayers, createSize, createTools } from "../raster_tools.js";

const HORIZON = 0.52; // of the height
const FIRST = ["sky", "cloud", "rock", "snow", "grass", "water", "sand", "forest", "tree", "earth", "road", "building", "bridge", "flower", "person", "other"];
const READABLE = 0.9; // so much of a picture must be in the palette to be painted on

export function create(app) {
  const { t } = app;
  const materials = app.info.palette.map(({ name, colour }, at) => ({ name, colour, index: at + 1 }));
  const palette = [[0, 0, 0], ...materials.map(({ colour }) => colour)];
  const index = (name) => materials.find((one) => one.name === name)?.index ?? 1;
  const [width, height] = app.settings.size();
  const raster = new Raster({
    width, height, colours: palette, ground: scene, label: t("paint.painting"),
    changed: () => app.emit("changed", "paint"), stroking: (busy) => app.emit("stroke", busy),
  });
  const colours = createColours(app);
  const keys = createKeys(raster, number);
  const ordered = [...materials].sort((one, other) => place(one) - place(other));
  const swatches = ordered.map(swatch);
  const grid = h("div", { class: "pt-materials", role: "radiogroup", "aria-label": t("paint.materials"), onkeydown: turn }, swatches);
  const element = h("div", { class: "pt" }, createTools(app, raster),
    h("div", { class: "pt-work" }, raster.element, grid, h("div", { class: "pt-more" }, createSize(app, raster, "hm-brush"), createLayers(app, raster), colours.element)));

  function place({ name }) {
    const at = FIRST.indexOf(name);
    return at < 0 ? FIRST.length : at;
  }

  // Sky above, grass below.
  function scene(wide, high) {
    const picture = blank(wide, high);
    const line = Math.round(high * HORIZON) * wide;
    picture.data.fill(index("sky"), 0, line).fill(index("grass"), line);
    return picture;
  }

  function swatch({ name, colour, index: value }, at) {
    const words = t.has(`material.${name}`) ? t(`material.${name}`) : name;
    const key = at < 9 ? ` (${at + 1})` : "";
    return h("button", { class: "pt-material", type: "button", role: "radio", "data-material": name, "data-index": value, title: words + key, onclick: () => (raster.colour = value) },
      h("span", { class: "pt-swatch", style: `background: rgb(${colour.join(" ")})` }), h("span", { class: "pt-name" }, words));
  }

  function draw() {
    for (const button of swatches) {
      const chosen = Number(button.dataset.index) === raster.colour;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
  }

  function turn(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 }[event.key];
    if (!step) return;
    const now = swatches.findIndex((button) => button.getAttribute("aria-checked") === "true");
    const next = swatches[now + step];
    if (next) {
      raster.colour = Number(next.dataset.index);
      next.focus();
    }
    event.preventDefault();
  }

  function number(event) {
    const chosen = /^[1-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey ? ordered[Number(event.key) - 1] : null;
    if (chosen) raster.colour = chosen.index;
  }

  async function hint() {
    return { kind: "seg", image: `data:image/png;base64,${await raster.file(colours.palette())}`, hint: "exact" };
  }

  // A segmentation of some request comes back as one layer; what is no painting in this palette is left to others.
  async function take(source) {
    const seen = await pixelsOf(source.image, raster.width, raster.height);
    const reads = Object.entries(colours.palettes).map(([way, known]) => ({ way, ...nearest(seen, known, 1) }));
    const [{ way, data, close }] = reads.sort((one, other) => other.close - one.close);
    if (close < READABLE) return false;
    colours.choose(way);
    raster.change((layers) => {
      layers.clear();
      layers.active.picture = { width: raster.width, height: raster.height, data };
    });
    return true;
  }

  raster.listen(draw);
  raster.colour = index("rock");
  app.on("size", ([wide, high]) => raster.resize(wide, high));
  return {
    element, name: "paint", raster, hint, take, takes: (source) => source.kind === "seg" && Boolean(source.image),
    empty: () => false, shown: keys.on, hidden: keys.off,
    state: () => ({ colours: colours.way(), ...raster.state() }),
    restore(state) {
      colours.choose(state?.colours);
      raster.restore(state);
    },
  };
}
