// The live picture: what was made last, how it stands to the painting, and what is going on, in words and in a line.
import { h } from "./dom.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

// `act` is {toggle(on), stop(), again(), recover(), keep(), remove(), now()}.
export function createPicture(app, act) {
  const { t } = app;
  const holder = h("div", { class: "lv-holder" });
  const empty = h("p", { class: "lv-empty" }, t("live.empty"));
  const pill = h("span", { class: "lv-pill", role: "status", "aria-live": "polite" });
  const line = h("div", { class: "lv-line", role: "progressbar", "aria-label": t("live.progress"), "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, h("span"));
  const frame = h("div", { class: "lv-frame", "data-state": "idle" }, holder, empty, pill, line);
  const trouble = h("p", { class: "lv-trouble", hidden: true });
  const button = (name, done, kind = "") => h("button", { class: `hm-button small ${kind}`, type: "button", "data-act": name, onclick: done }, t(`live.${name}`));
  const on = h("input", { type: "checkbox", role: "switch", id: "hm-live", checked: true, onchange: () => act.toggle(on.checked) });
  const figure = h("span", { class: "lv-figure", hidden: true });
  const stop = button("stop", act.stop);
  const again = button("again", act.again, "primary");
  const keep = button("keep", act.keep);
  const remove = button("remove", act.remove);
  const present = h("div", { class: "lv-row" }, h("label", { class: "hm-switch" }, on, h("span", { class: "hm-label" }, t("live.live"))), figure, again, stop);
  const past = h("div", { class: "lv-row", hidden: true }, button("recover", act.recover, "primary"), keep, remove, button("now", act.now, "quiet"));
  const place = h("div", { class: "lv-place" }, frame);
  const element = h("section", { class: "lv", "aria-label": t("live.label") }, place, trouble, present, past);
  // on a narrow screen the picture stands below the painting: while it is out of sight, it is shown small in a corner
  new IntersectionObserver(([seen]) => frame.classList.toggle("afloat", seen.intersectionRatio < 0.4), { threshold: [0.4] }).observe(place);
  frame.addEventListener("click", () => frame.classList.contains("afloat") && place.scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "center" }));
  let turn = 0;
  let url = null;

  // Puts a picture into the frame once it is decoded, so that nothing flickers. `inside` is a Blob or an address.
  async function show(inside, words) {
    const mine = ++turn;
    const fresh = inside instanceof Blob ? URL.createObjectURL(inside) : inside;
    const image = h("img", { class: "lv-picture", src: fresh, alt: words });
    try {
      await image.decode();
    } catch { /* shown as the browser can */ }
    if (mine !== turn) {
      if (inside instanceof Blob) URL.revokeObjectURL(fresh);
      return;
    }
    holder.replaceChildren(image);
    if (url) URL.revokeObjectURL(url);
    url = inside instanceof Blob ? fresh : null;
    empty.hidden = true;
  }

  // state: idle, nothing, drawing, paused, off, sending, queued, running, rough, fresh, failed, stopped; values go into its words.
  function tell(state, values = {}) {
    frame.dataset.state = state;
    const words = (state === "nothing" && app.tab?.nothing?.()) || t(`live.state.${state}`, values);
    pill.setAttribute("aria-live", state === "running" ? "off" : "polite"); // not every per cent is read aloud
    if (pill.textContent !== words) pill.textContent = words;
    pill.hidden = !words;
    const busy = ["sending", "queued", "running", "rough"].includes(state);
    frame.setAttribute("aria-busy", String(busy));
    line.hidden = !busy;
    const share = Math.round(100 * (values.progress ?? 0));
    line.setAttribute("aria-valuenow", share);
    line.classList.toggle("unknown", busy && share === 0);
    line.firstChild.style.width = `${share}%`;
    stop.hidden = !busy;
    again.hidden = state !== "failed" && state !== "stopped";
  }

  // Control fidelity of the first unit that has any, such as {miou: 0.81}; `units` are reports.
  function follows(units) {
    const told = Object.entries(units?.find((unit) => unit.fidelity)?.fidelity ?? {})[0];
    figure.hidden = !told;
    if (!told) return;
    figure.textContent = t("live.follows", { value: Number(told[1]).toFixed(2) });
    figure.title = t("live.follows.title", { name: told[0] });
    figure.dataset.value = told[1];
  }

  function fail(error) {
    app.fail(error, trouble);
  }

  // An earlier frame is looked at (its kept state), or none (null).
  function peek(given) {
    frame.classList.toggle("past", Boolean(given));
    present.hidden = Boolean(given);
    past.hidden = !given;
    keep.textContent = t(given?.kept ? "live.unkeep" : "live.keep");
    keep.setAttribute("aria-pressed", String(Boolean(given?.kept)));
    remove.disabled = Boolean(given?.kept);
  }

  function blank(words = t("live.empty")) {
    turn++;
    holder.replaceChildren();
    empty.textContent = words;
    empty.hidden = false;
  }

  const shape = ([width, height]) => (place.style.aspectRatio = frame.style.aspectRatio = `${width} / ${height}`);
  return { element, frame, show, tell, follows, fail, peek, blank, shape, stale: (yes) => frame.classList.toggle("stale", yes), set on(yes) { on.checked = yes; } };
}
