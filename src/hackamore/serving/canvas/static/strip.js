// The strip of frames: every picture that arrived, newest first. One that is chosen is looked at; from there it can be
// brought back with everything it was made from, kept for good, or deleted.
import { h } from "./dom.js";

// `look(frame | null)` shows a frame in the place of the present picture, null ends that; `recover(frame)` brings it back.
export function createStrip(app, frames, { look, recover }) {
  const { t } = app;
  const row = h("div", { class: "st-row", role: "listbox", "aria-label": t("strip.label"), "aria-orientation": "horizontal", tabindex: 0, onkeydown: pressed });
  const count = h("span", { class: "st-count" });
  const none = h("p", { class: "st-none" }, t("strip.none"));
  const element = h("section", { class: "st", "aria-label": t("strip.label") },
    h("div", { class: "st-head" }, h("h2", { class: "st-title" }, t("strip.title")), count), row, none);
  let all = [];
  let chosen = null;

  function item(frame) {
    const url = URL.createObjectURL(frame.picture);
    const image = h("img", { src: url, alt: "", loading: "lazy", draggable: "false" });
    const node = h("button", {
      class: "st-frame", id: `hm-frame-${frame.id}`, type: "button", role: "option", tabindex: -1, "aria-selected": "false", "data-frame": frame.id, "data-kind": frame.kind,
      "data-key": frame.key, "aria-label": t(`strip.${frame.kind}`, { time: new Date(frame.at).toLocaleTimeString(t.language) }),
      onclick: () => choose(frame), ondblclick: () => recover(frame),
    }, image, frame.kind === "preview" ? h("span", { class: "st-tag" }, t("strip.rough")) : null);
    node.classList.toggle("kept", Boolean(frame.kept));
    frame.url = url;
    frame.node = node;
    return node;
  }

  function draw() {
    none.hidden = all.length > 0;
    row.hidden = !all.length;
    count.textContent = all.length ? String(all.length) : "";
  }

  function add(frame) {
    const edge = row.scrollLeft;
    all.unshift(frame);
    row.prepend(item(frame));
    if (edge > 0) row.scrollLeft = edge + frame.node.offsetWidth; // what somebody looks at does not move
    draw();
  }

  function mark() {
    for (const frame of all) frame.node.setAttribute("aria-selected", String(frame === chosen));
    if (chosen) row.setAttribute("aria-activedescendant", chosen.node.id);
    else row.removeAttribute("aria-activedescendant");
  }

  function choose(frame) {
    chosen = frame === chosen ? null : frame;
    mark();
    chosen?.node.scrollIntoView({ block: "nearest", inline: "nearest" });
    look(chosen);
  }

  // Nothing is looked at any more.
  function leave() {
    chosen = null;
    mark();
  }

  function pressed(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && all.length) {
      const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(chosen) + step))];
      if (next !== chosen) choose(next);
    } else if (event.key === "Enter" && chosen) recover(chosen);
    else if (event.key === "Delete" && chosen && !chosen.kept) remove(chosen);
    else if (event.key === "Escape" && chosen) choose(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async function remove(frame) {
    if (frame === chosen) choose(frame);
    all = all.filter((one) => one !== frame);
    frame.node.remove();
    URL.revokeObjectURL(frame.url);
    draw();
    await frames.remove(frame.id);
  }

  async function keep(frame, kept) {
    frame.kept = kept;
    frame.node.classList.toggle("kept", kept);
    await frames.keep(frame.id, kept);
  }

  // What is beyond the bound goes from the page too.
  function trim(most) {
    for (const frame of all.filter((one) => !one.kept).slice(most)) {
      if (frame === chosen) continue;
      all = all.filter((one) => one !== frame);
      frame.node.remove();
      URL.revokeObjectURL(frame.url);
    }
    draw();
  }

  function fill(list) {
    all = list;
    row.replaceChildren(...all.map(item));
    draw();
  }

  draw();
  return { element, add, fill, keep, remove, leave, trim, find: (key) => all.find((frame) => frame.key === key), newest: () => all[0] };
}
