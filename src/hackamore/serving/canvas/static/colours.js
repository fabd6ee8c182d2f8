// In whose colours a control is told the materials. Meadow's own know the worlds'; published ones learned ADE20K's.
import { h } from "./dom.js";
import { selectField } from "./fields.js";
import { takers } from "./unit_values.js";

const OURS = /^meadow\//;
const ADE20K = { sky: "sky", cloud: "sky", water: "water", sand: "sand", grass: "grass", forest: "tree", rock: "mountain", snow: "mountain", tree: "tree",
  earth: "earth", road: "road", building: "building", bridge: "bridge", person: "person", flower: "flower" };
const NONE = [0, 0, 0]; // a class that ADE20K does not have

// {element, way(), palette(), palettes, choose(way)}: `palette()` are the colours of indices 0, 1 … in the chosen way.
// The choice is shown where the base has a control for materials that is not Meadow's, and kept for each base.
export function createColours(app) {
  const { t, store, info } = app;
  const known = new Map((info.palettes.ade20k ?? []).map(({ name, colour }) => [name, colour]));
  const palettes = {
    worlds: [NONE, ...info.palette.map(({ colour }) => colour)],
    ade20k: [NONE, ...info.palette.map(({ name }) => known.get(ADE20K[name]) ?? NONE)],
  };
  const field = selectField({ id: "hm-colours", label: t("paint.colours") });
  const element = h("div", { class: "pt-colours" }, field.element, h("p", { class: "hm-quiet" }, t("paint.colours.why")));
  const place = () => `colours.${app.base().name}`;
  let way = "worlds";

  // What was chosen for this base, else what its first control for materials will have learned.
  function draw() {
    const controls = takers(info, app.base().name, "seg").filter((one) => one.kind);
    const foreign = controls.some((one) => !OURS.test(one.name));
    way = foreign ? store.get(place(), OURS.test(controls[0].name) ? "worlds" : "ade20k") : "worlds";
    field.fill(Object.keys(palettes).map((name) => [name, t(`paint.colours.${name}`)]), way);
    element.hidden = !foreign;
  }

  function choose(name) {
    if (element.hidden || !(name in palettes)) return;
    way = field.input.value = name;
    store.set(place(), way);
  }

  field.input.addEventListener("change", () => {
    choose(field.input.value);
    app.emit("changed", "paint");
  });
  app.on("base", draw);
  draw();
  return { element, way: () => way, palette: () => palettes[way], palettes, choose };
}
