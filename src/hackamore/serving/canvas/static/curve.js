// A schedule as a curve: points are dragged; a double click adds one, another on a point takes it away.

import { h } from "./dom.js";
import { clamp, follow, short, svg } from "./parts.js";
import { parseSchedule, strengthAt, writeSchedule } from "./schedule.js";

const [WIDE, HIGH, PAD] = [280, 120, 14];
const APART = 0.01; // places of a schedule rise
const REACH = 26; // CSS pixels around a point that still mean it: a fingertip

// A curve editor. `told(text)` is called when a drag ends and the schedule really changed; `most` is the axis' top.
// Answers {element, value() -> text, set(text)}.
export function createCurve({ text = "1@0/0@1", most = 2, words, told = () => {} }) {
  let points = parseSchedule(text) ?? parseSchedule("1@0/0@1");
  let chosen = 0;
  let before = writeSchedule(points);
  const line = svg("path", { class: "curve-line" });
  const area = svg("path", { class: "curve-area" });
  const dots = svg("g");
  const plot = svg("svg", { class: "curve-plot", viewBox: `0 0 ${WIDE} ${HIGH}`, tabindex: 0, role: "application",
    "aria-label": words.name, "aria-description": words.how, onpointerdown: grabbed, ondblclick: doubled,
    onkeydown: pressed, onkeyup: settle, onblur: settle }, grid(most), area, line, dots);
  const field = h("input", { class: "hm-input curve-text", type: "text", spellcheck: "false", autocomplete: "off",
    "aria-label": words.text, onchange: typed });
  const wrong = h("p", { class: "hm-error", role: "alert", hidden: true }, words.wrong);
  const said = h("span", { class: "un-unseen", "aria-live": "polite" });
  const button = (name, act) => h("button", { class: "hm-button small", type: "button", onclick: act, "data-act": name }, words[name]);
  const element = h("div", { class: "curve" }, plot,
    h("div", { class: "curve-tools" }, button("add", addAfter), button("remove", () => removed(chosen)),
      button("fade", () => given("1@0/1@0.3/0@0.8")), button("rise", () => given("0@0/1@0.5")),
      button("flat", () => given("1@0/1@1"))),
    field, wrong, said);

  const x = (place) => PAD + place * (WIDE - 2 * PAD);
  const y = (strength) => HIGH - PAD - (clamp(strength, 0, most) / most) * (HIGH - 2 * PAD);

  function draw() {
    const first = `M ${x(0)} ${y(points[0].strength)}`;
    const middle = points.map((one) => `L ${x(one.place)} ${y(one.strength)}`).join(" ");
    const path = `${first} ${middle} L ${x(1)} ${y(points[points.length - 1].strength)}`;
    line.setAttribute("d", path);
    area.setAttribute("d", `${path} L ${x(1)} ${y(0)} L ${x(0)} ${y(0)} Z`);
    dots.replaceChildren(...points.map((one, at) => svg("circle",
      { class: at === chosen ? "curve-dot chosen" : "curve-dot", cx: x(one.place), cy: y(one.strength), r: 7, "data-point": at })));
    field.value = writeSchedule(points);
    wrong.hidden = true;
  }

  function settle() {
    const now = writeSchedule(points);
    if (now === before) return;
    before = now;
    told(now);
  }

  function move(place, strength) {
    const low = chosen ? points[chosen - 1].place + APART : 0;
    const high = chosen < points.length - 1 ? points[chosen + 1].place - APART : 1;
    points[chosen] = { place: Number(short(clamp(place, low, high))), strength: Number(short(clamp(strength, 0, most))) };
    draw();
  }

  function read(event) {
    const box = plot.getBoundingClientRect();
    const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const place = clamp((across * WIDE - PAD) / (WIDE - 2 * PAD), 0, 1);
    const strength = clamp(((HIGH - PAD - down * HIGH) / (HIGH - 2 * PAD)) * most, 0, most);
    return { place, strength, pixels: box.width / WIDE };
  }

  function nearest(event) {
    const { place, strength, pixels } = read(event);
    const apart = points.map((one) => Math.hypot(x(one.place) - x(place), y(one.strength) - y(strength)) * pixels);
    const at = apart.indexOf(Math.min(...apart));
    return apart[at] <= REACH ? at : -1;
  }

  function grabbed(event) {
    const at = nearest(event);
    if (at < 0) return;
    event.preventDefault();
    plot.focus({ preventScroll: true });
    chosen = at;
    const from = read(event);
    const offset = { place: points[at].place - from.place, strength: points[at].strength - from.strength };
    draw();
    follow(plot, event, (one) => {
      const to = read(one);
      move(to.place + offset.place, to.strength + offset.strength);
    }, settle);
  }

  function doubled(event) {
    event.preventDefault();
    const at = nearest(event);
    if (at >= 0) return removed(at);
    const { place, strength } = read(event);
    return added(place, strength);
  }

  function added(place, strength) {
    const at = points.findIndex((one) => one.place > place);
    const where = at < 0 ? points.length : at;
    if (points.length >= 12 || points.some((one) => Math.abs(one.place - place) < APART)) return;
    points.splice(where, 0, { place: Number(short(place)), strength: Number(short(strength)) });
    chosen = where;
    draw();
    settle();
  }

  function addAfter() {
    const ends = [...points.map((one) => one.place), 1];
    const [from, to] = [ends[chosen], ends[chosen + 1]];
    const place = to - from > 2 * APART ? (from + to) / 2 : points[0].place / 2;
    added(place, strengthAt(points, place));
  }

  function removed(at) {
    if (points.length < 2) return;
    points.splice(at, 1);
    chosen = clamp(chosen, 0, points.length - 1);
    draw();
    settle();
  }

  function given(schedule) {
    points = parseSchedule(schedule);
    chosen = 0;
    draw();
    settle();
  }

  function typed() {
    const read = parseSchedule(field.value);
    wrong.hidden = read !== null;
    if (read === null) return;
    given(field.value);
  }

  function pressed(event) {
    const one = points[chosen];
    const moves = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] };
    if (event.key in moves) move(one.place + moves[event.key][0], one.strength + moves[event.key][1]);
    else if (event.key === "Delete" || event.key === "Backspace") removed(chosen);
    else if (event.key === "Enter" || event.key === "+") addAfter();
    else if (event.key === "PageUp" || event.key === "PageDown") {
      chosen = (chosen + (event.key === "PageDown" ? 1 : points.length - 1)) % points.length;
      draw();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    said.textContent = `${chosen + 1}/${points.length}: ${short(points[chosen].strength)} @ ${short(points[chosen].place)}`;
  }

  draw();
  return {
    element,
    value: () => writeSchedule(points),
    set(schedule) {
      points = parseSchedule(schedule) ?? points;
      before = writeSchedule(points);
      chosen = 0;
      draw();
    },
  };
}

function grid(most) {
  const rows = [0, 0.25, 0.5, 0.75, 1].map((share) => HIGH - PAD - share * (HIGH - 2 * PAD));
  const lines = rows.map((row) => svg("line", { class: "curve-grid", x1: PAD, x2: WIDE - PAD, y1: row, y2: row }));
  const label = (text, row) => svg("text", { class: "curve-label", x: 1, y: row + 3 }, text);
  return svg("g", { "aria-hidden": "true" }, lines, label(short(most), PAD), label("0", HIGH - PAD));
}
