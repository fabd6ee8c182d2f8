// The right column: what a picture shows and how it is made. `create(app)` gives
// {element, base(), size(), request(), state(), restore(request)}; a change that ends is "changed" ("settings").
import { dataUrl } from "./api.js";
import { createChips } from "./chips.js";
import { field, numberField, rangeField, selectField, switchField } from "./fields.js";
import { h, icon } from "./dom.js";
import { createRun } from "./run.js";

const FIRST = "mountains with a lake at noon, clear sky";
const SEEDS = 2 ** 31;
const PROMPT = 8000;
const GRAIN = 64; // pixels; a base that tells its own is followed
const SHAPES = [[1, 1], [1.5, 1], [1, 1.5]];
const seedByChance = () => Math.floor(Math.random() * SEEDS);

export async function create(app) {
  const { t, info, store } = app;
  const kept = store.get("settings", {});
  const bases = info.bases;
  let base = bases.find((one) => one.name === kept.base) ?? bases[0];
  let before = null;
  let start = null; // the picture to begin from, as a data: address

  const prompt = h("textarea", { class: "hm-input", rows: 3, maxlength: PROMPT, id: "hm-prompt", placeholder: t("settings.prompt.hint"), value: kept.prompt ?? FIRST });
  const negative = h("textarea", { class: "hm-input", rows: 1, maxlength: PROMPT, id: "hm-negative", value: kept.negative ?? "" });
  const seed = numberField({ id: "hm-seed", label: t("settings.seed"), min: 0, max: 2 ** 53 - 1, step: 1, value: kept.seed ?? seedByChance() });
  const steps = rangeField({ id: "hm-steps", label: t("settings.steps"), min: 1, max: Math.min(info.limits.steps, 100), step: 1, value: kept.steps ?? base.steps });
  const guidance = rangeField({ id: "hm-guidance", label: t("settings.guidance"), min: 0, max: 15, step: 0.5, value: kept.guidance ?? base.guidance });
  const num = rangeField({ id: "hm-num", label: t("settings.num"), min: 1, max: Math.min(info.limits.pictures, 8), step: 1, value: kept.num ?? 1 });
  const strength = rangeField({ id: "hm-strength", label: t("settings.strength"), min: 0.05, max: 1, step: 0.05, value: kept.strength ?? 0.6 });
  const init = switchField({ id: "hm-init", label: t("settings.init"), checked: false });
  const chosen = selectField({ id: "hm-base", label: t("settings.base") });
  const size = selectField({ id: "hm-size", label: t("settings.size") });
  const scheduler = selectField({ id: "hm-scheduler", label: t("settings.scheduler") });
  const speed = selectField({ id: "hm-speed", label: t("settings.speed") });
  const trouble = h("p", { hidden: true });
  const chips = await createChips(app, prompt, changed);
  const vary = h("button", { class: "hm-button", type: "button", id: "hm-vary", title: `${t("action.vary")} (V)`, onclick: another }, icon("dice"), t("action.vary"));
  const run = createRun(app);

  chosen.fill(bases.map((one) => [one.name, one.title ?? one.name]), base.name);
  speed.fill([0, ...Object.keys(info.fast ?? {})].map((level) => [String(level), t(`settings.speed.${level}`)]), String(kept.fast ?? 0));
  fillBase(kept);
  strength.element.hidden = true;

  const more = h("details", { class: "hm-more" }, h("summary", {}, t("settings.more")),
    field(t("settings.negative"), negative), chosen.element, trouble, size.element, steps.element, guidance.element, scheduler.element, speed.element);
  const element = h("section", { class: "hm-card hm-settings", "aria-label": t("label.settings") },
    field(t("settings.prompt"), prompt), chips.element,
    h("div", { class: "hm-row" }, seed.element, vary), num.element, init.element, strength.element, more, run.element);

  prompt.addEventListener("input", chips.draw);
  for (const input of [prompt, negative, seed.input, steps.input, guidance.input, num.input, strength.input, scheduler.input]) {
    input.addEventListener("change", changed);
  }
  size.input.addEventListener("change", () => {
    app.emit("size", sizeNow());
    changed();
  });
  chosen.input.addEventListener("change", choose);
  speed.input.addEventListener("change", pace);
  init.input.addEventListener("change", begin);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable], dialog");
    if (!typing && event.key.toLowerCase() === "v" && !event.ctrlKey && !event.metaKey && !event.altKey && app.tab?.hint) another();
  });
  before = JSON.stringify(state());

  // A base that was not loaded yet tells its size and defaults only then; until then the page stays with the other one.
  async function choose() {
    app.fail(null, trouble);
    chosen.input.disabled = true;
    try {
      base = await loaded(chosen.input.value);
      fillBase({});
      app.emit("base", base);
      app.emit("size", sizeNow());
      changed();
    } catch (error) {
      app.fail(error, trouble);
    } finally {
      chosen.input.disabled = false;
      chosen.input.value = base.name;
    }
  }

  async function loaded(name) {
    const one = info.bases.find((base) => base.name === name);
    if (one.size) return one;
    await app.api.load(name);
    const fresh = (await app.api.info()).bases.find((base) => base.name === name);
    return Object.assign(one, fresh);
  }

  function sizes() {
    const [width, height] = base.size;
    const grain = base.multiple ?? GRAIN;
    return SHAPES.map(([x, y]) => [width * x, height * y].map((side) => Math.round(side / grain) * grain))
      .filter(([w, h2]) => w * h2 <= info.limits.pixels);
  }

  function fillBase(from) {
    const known = sizes().map((one) => one.join("×"));
    size.fill(known.map((one) => [one, one]), known.includes(from.size) ? from.size : base.size.join("×"));
    const schedulers = base.schedulers ?? [];
    scheduler.fill(schedulers.map((one) => [one, one]), schedulers.includes(from.scheduler) ? from.scheduler : (base.scheduler ?? schedulers[0]));
    steps.set(from.steps ?? base.steps);
    guidance.set(from.guidance ?? base.guidance);
  }

  function level() {
    return Number(speed.input.value) || null;
  }

  // A level brings steps and a scheduler of its own; both can be changed again.
  function pace() {
    const { steps: few, scheduler: quick } = info.fast?.[level()] ?? base;
    steps.set(few ?? base.steps);
    scheduler.input.value = (base.schedulers ?? []).includes(quick) ? quick : base.scheduler;
    changed();
  }

  const sizeNow = () => size.input.value.split("×").map(Number);

  // The picture that stands beside the painting now becomes the one to begin from, and stays it.
  async function begin() {
    start = null;
    if (init.input.checked && app.picture) start = await dataUrl(app.picture.url).catch((error) => app.fail(error));
    if (init.input.checked && !start) app.toast(t("settings.init.none"), "info");
    init.input.checked = Boolean(start);
    strength.element.hidden = !start;
    changed();
  }

  function another() {
    seed.set(seedByChance());
    changed();
  }

  function state() {
    return {
      base: base.name, prompt: prompt.value, negative: negative.value, seed: seed.value(), steps: steps.value(), guidance: guidance.value(),
      num: num.value(), strength: strength.value(), size: size.input.value, scheduler: scheduler.input.value, fast: level(), start: Boolean(start),
    };
  }

  function changed() {
    chips.draw();
    const now = JSON.stringify(state());
    if (now === before) return;
    before = now;
    store.set("settings", state());
    app.emit("changed", "settings");
  }

  async function request() {
    return {
      prompt: prompt.value, negative: negative.value, seed: seed.value(), num: num.value(), size: sizeNow(), steps: steps.value(),
      guidance: guidance.value(), ...(scheduler.input.value && { scheduler: scheduler.input.value }),
      ...(level() && { fast: level() }), ...(start && { init: start, strength: strength.value() }),
    };
  }

  async function restore(asked) {
    const named = bases.some((one) => one.name === asked.base);
    if (named && asked.base !== base.name) {
      base = await loaded(asked.base);
      chosen.input.value = base.name;
      app.emit("base", base);
    }
    prompt.value = asked.prompt ?? "";
    negative.value = asked.negative ?? "";
    fillBase({ size: asked.size?.join("×"), scheduler: asked.scheduler, steps: asked.steps, guidance: asked.guidance });
    speed.input.value = String(asked.fast ?? 0);
    if (asked.seed !== null && asked.seed !== undefined) seed.set(asked.seed);
    num.set(asked.num ?? 1);
    start = asked.init ? (asked.init.startsWith("data:") ? asked.init : `data:image/png;base64,${asked.init}`) : null;
    init.input.checked = Boolean(start);
    strength.element.hidden = !start;
    if (asked.strength) strength.set(asked.strength);
    app.emit("size", sizeNow());
    changed();
  }

  return { element, base: () => base.name, size: sizeNow, request, state, restore };
}
