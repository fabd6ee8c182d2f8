// Photo: a picture of one's own, read in one or more ways; every hint is seen before anything is made from it.

import { h, icon } from "../dom.js";
import { takePhoto } from "../photo/camera.js";
import { readPhoto } from "../photo/files.js";
import { createReading } from "../photo/reading.js";
import { tool } from "../toolbar.js";
import { family, offers, takers } from "../unit_values.js";

const AS_IT_IS = ["reference", "ip-adapter", "ip2p"]; // kinds whose controls look at the picture itself

export function create(app) {
  const { t } = app;
  let annotators = [];
  let listing = null;
  let coming = null; // what a restored state still waits for
  let photo = null;
  let readings = [];
  let turn = 0;
  const file = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": t("photo.choose"), onchange: chosen });
  const trouble = h("p", { hidden: true, class: "ph-trouble" });
  const picture = h("img", { class: "ph-photo", alt: t("photo.alt"), hidden: true });
  const ask = h("div", { class: "ph-ask" }, h("strong", {}, t("photo.drop.here")), h("p", {}, t("photo.drop.how")),
    h("button", { class: "hm-button primary", type: "button", onclick: () => file.click() }, t("photo.choose")));
  const frame = h("div", { class: "ph-frame" }, picture, ask);
  const away = tool("away", t("photo.away"), () => put(null));
  const bar = h("div", { class: "un-tools", role: "toolbar", "aria-label": t("photo.tools") },
    tool("choose", t("photo.choose"), () => file.click()), tool("camera", t("photo.camera"), () => camera()), away, file);
  const chips = h("div", { class: "ph-chips", role: "group", "aria-label": t("photo.kinds") });
  const others = h("div", { class: "ph-chips", role: "group", "aria-label": t("photo.others") });
  const otherKinds = h("details", { class: "hm-more" }, h("summary", {}, t("photo.others")), h("p", { class: "un-quiet" }, t("photo.others.why")), others);
  const list = h("div", { class: "ph-readings" });
  const panel = h("div", { class: "ph-panel", hidden: true }, h("h3", {}, t("photo.kinds")), chips, list, otherKinds);
  const element = h("section", { class: "ph-tab", ondragover: over, ondragleave: () => element.classList.remove("over"), ondrop: dropped },
    bar, h("div", { class: "ph-main" }, frame, trouble, panel));
  const acts = { photo: () => photo, size: () => app.settings.size(), changed: () => app.emit("changed", "photo"), pin, remove, edit };

  app.on("base", draw);
  app.on("size", () => again());
  draw();

  // The list is asked for once, when somebody comes here: a server may try every annotator for it.
  function listed() {
    listing ??= app.api.annotators().then((told) => {
      annotators = [...told.filter((one) => one.usable && one.kind !== "pose_json"), ...AS_IT_IS.map((kind) => ({ kind, plain: true, parameters: [] }))];
      draw();
    }, (error) => {
      listing = null;
      app.fail(error, trouble);
    });
    return listing;
  }

  function draw() {
    const base = app.base().name;
    const own = annotators.filter((one) => offers(app.info, base, one.kind));
    const rest = annotators.filter((one) => !own.includes(one) && !one.plain);
    chips.replaceChildren(...own.map(chip));
    others.replaceChildren(...rest.map(chip));
    otherKinds.hidden = !rest.length;
    away.disabled = panel.hidden = !photo;
    picture.hidden = !photo;
    ask.hidden = Boolean(photo);
    frame.style.aspectRatio = photo ? `${photo.width} / ${photo.height}` : "";
    list.replaceChildren(...readings.map((one) => one.element));
  }

  function chip(one) {
    const pressed = readings.some((reading) => reading.kind === one.kind);
    return h("button", { class: "hm-chip", type: "button", "data-kind": one.kind, "aria-pressed": String(pressed), title: one.meaning ?? "",
      onclick: () => toggle(one) }, t.has(`kind.${one.kind}`) ? t(`kind.${one.kind}`) : one.kind.replace(/_/g, " "));
  }

  async function toggle(one) {
    const reading = readings.find((other) => other.kind === one.kind);
    if (reading) return remove(reading);
    await read(one.kind);
    return acts.changed();
  }

  async function read(kind, state = null) {
    const described = annotators.find((one) => one.kind === kind);
    if (!described) return;
    const reading = createReading(app, described, acts);
    if (state) reading.restore(state);
    readings.push(reading);
    draw();
    chips.querySelector(`[data-kind="${kind}"]`)?.focus({ preventScroll: true });
    await reading.refresh();
  }

  function remove(reading) {
    readings = readings.filter((other) => other !== reading);
    draw();
    acts.changed();
  }

  const again = () => Promise.all(readings.map((one) => one.refresh()));

  function pin(reading) {
    const request = reading.request();
    if (request) app.units.pin(request, reading.hint);
  }

  async function edit(people) {
    await app.tabs.pose.restore({ people });
    app.show("pose");
    app.emit("changed", "pose");
  }

  // A new photo, or none; the ways of reading stay, their hints are made anew.
  async function put(next, told = true) {
    photo = next;
    if (photo) picture.src = photo.image;
    else readings = [];
    draw();
    await listed();
    if (photo && !readings.length) {
      const first = chips.querySelector("[data-kind=canny]") ?? chips.firstElementChild;
      if (first) await read(first.dataset.kind);
    } else await again();
    if (told) acts.changed();
  }

  async function taken(make) {
    app.fail(null, trouble);
    turn += 1;
    const mine = turn;
    try {
      const next = await make();
      if (next && mine === turn) await put(next);
    } catch (error) {
      app.fail(error.reason ? { words: t(`photo.wrong.${error.reason}`, error.values) } : error, trouble);
    }
  }

  const opened = (one) => taken(() => readPhoto(one, Math.max(1024, 2 * Math.max(...app.settings.size()))));
  const camera = () => taken(() => takePhoto(t));

  function chosen() {
    const [one] = file.files;
    if (one) opened(one);
    file.value = "";
  }

  function over(event) {
    event.preventDefault();
    element.classList.add("over");
  }

  function dropped(event) {
    event.preventDefault();
    element.classList.remove("over");
    const [one] = event.dataTransfer.files;
    if (one) opened(one);
    else app.fail({ words: t("photo.wrong.nofile") }, trouble);
  }

  function pasted(event) {
    if (event.target.closest?.("input, textarea")) return;
    const one = [...event.clipboardData.files][0];
    if (!one) return;
    event.preventDefault();
    opened(one);
  }

  const usable = () => readings.filter((one) => one.hint && offers(app.info, app.base().name, one.kind));

  // All ways of reading that this base has a control for; those still under way are waited for.
  async function hints() {
    await coming;
    await Promise.all(readings.map((one) => one.settled()));
    return usable().map((one) => one.request());
  }

  return {
    element,
    name: "photo",
    hints,
    hint: async () => (await hints())[0] ?? null,
    thumb: (kind) => readings.find((one) => one.kind === kind || family(one.kind) === kind)?.hint ?? null,
    takes: (source) => Boolean(source.image) && !source.hint && takers(app.info, app.base().name, source.kind).length > 0,
    async take(source) {
      await listed();
      if (!annotators.some((one) => one.kind === source.kind)) return false;
      const image = await sized(source.image);
      readings = [];
      photo = image;
      picture.src = image.image;
      await read(source.kind, { parameters: source.parameters });
      return true;
    },
    state: () => ({ photo, readings: readings.map((one) => one.state()) }),
    // at once; the hints come later, and whoever wants them waits for them
    restore(told) {
      readings = [];
      photo = told?.photo ?? null;
      if (photo) picture.src = photo.image;
      draw();
      if (photo) coming = listed().then(() => Promise.all((told.readings ?? []).map((one) => read(one.kind, one))));
    },
    shown() {
      document.addEventListener("paste", pasted);
      listed();
    },
    hidden: () => document.removeEventListener("paste", pasted),
    empty: () => !photo,
  };
}

async function sized(image) {
  const probe = new Image();
  probe.src = image;
  await probe.decode();
  return { image, width: probe.naturalWidth, height: probe.naturalHeight, name: "" };
}
