// The skeleton on its canvas: joints and whole people are dragged, by mouse, finger or keyboard.
//
//   const editor = createEditor({ bones, words, changed, told, stroking });   changed() after a drag that moved something,
//   stroking(busy) when a drag begins and when it has ended, before `changed`
//   editor.element .people() .size() .chosen() .joint()             told() whenever something is to be drawn beside it
//   editor.set(people, size)  .resize(size)  .act(people, chosen)  .choose(person, joint)  .undo() .redo() .key(event)
import { h } from "../dom.js";
import { clamp, svg } from "../parts.js";
import { apart, drawPerson } from "./drawing.js";
import { box, fitted, middle, mirrored, shifted, turned, withJoint, withoutJoint } from "./people.js";

const REACH = 26; // CSS pixels around a joint that still mean it: a fingertip
const LIMB_REACH = 18;
const MOST_STEPS = 100;

export function createEditor({ bones, words, changed, told, stroking }) {
  let size = [512, 512];
  let people = [];
  let chosen = 0;
  let joint = -1;
  let before = people;
  let following = false;
  const [past, future] = [[], []];
  const down = new Map();
  let drag = null;
  const drawing = svg("g");
  const marks = svg("g", { class: "po-marks" });
  const picture = svg("svg", { class: "po-picture", "aria-hidden": "true" }, drawing, marks);
  const element = h("div", { class: "po-frame", tabindex: 0, role: "application", "aria-label": words.canvas,
    "aria-describedby": "po-how", onpointerdown: pressed, onpointermove: moved, onpointerup: released, onpointercancel: released,
    onlostpointercapture: released,
    onkeydown: keyed, onkeyup: settle, onblur: settle }, picture);

  const unit = () => Math.min(...size) / 512;
  const pixels = () => (element.clientWidth || size[0]) / size[0]; // CSS pixels of one pixel of the canvas

  function draw() {
    drawing.replaceChildren(...people.map((person) => drawPerson(person, bones, unit())));
    const person = people[chosen];
    const one = person?.body[joint];
    const [left, top, right, bottom] = person ? box(person) : [];
    const pad = 14 * unit();
    marks.replaceChildren(...[
      person && people.length > 1 && svg("rect", { class: "po-box", x: left - pad, y: top - pad, width: right - left + 2 * pad,
        height: bottom - top + 2 * pad, rx: pad }),
      one && one[2] > 0 && svg("circle", { class: "po-ring", cx: one[0], cy: one[1], r: 12 / pixels() }),
    ].filter(Boolean));
    told();
  }

  // Something that happened at once and can be undone; nothing is told where nothing changed.
  function act(next, now = chosen) {
    people = next;
    if (now !== chosen) joint = -1;
    chosen = clamp(now, 0, Math.max(0, people.length - 1));
    if (!people[chosen] || !(people[chosen].body[joint]?.[2] > 0)) joint = -1;
    settle();
    draw();
  }

  // The end of a drag or of a key: what really changed becomes one step.
  function settle() {
    if (drag || people === before || JSON.stringify(people) === JSON.stringify(before)) return;
    past.push(before);
    if (past.length > MOST_STEPS) past.shift();
    future.length = 0;
    before = people;
    changed();
  }

  function swap(from, to) {
    if (!from.length) return;
    to.push(people);
    people = before = from.pop();
    chosen = clamp(chosen, 0, Math.max(0, people.length - 1));
    joint = -1;
    draw();
    changed();
  }

  const replaced = (person) => people.map((one, at) => (at === chosen ? person : one));

  function place(event) {
    const area = picture.getBoundingClientRect();
    return [((event.clientX - area.left) / area.width) * size[0], ((event.clientY - area.top) / area.height) * size[1]];
  }

  // The nearest joint, those of the chosen person first; then the nearest limb.
  function under(at) {
    const found = [];
    people.forEach((person, who) => person.body.forEach(([x, y, seen], which) => {
      const far = Math.hypot(x - at[0], y - at[1]) * pixels();
      if (seen > 0 && far <= REACH) found.push({ who, which, far: who === chosen ? far / 2 : far });
    }));
    people.forEach((person, who) => bones.limbs.forEach(([from, to]) => {
      const [a, b] = [person.body[from], person.body[to]];
      const far = a[2] > 0 && b[2] > 0 ? apart(at, a, b) * pixels() : Infinity;
      if (far <= LIMB_REACH) found.push({ who, which: -1, far: far + REACH });
    }));
    return found.sort((one, other) => one.far - other.far)[0] ?? null;
  }

  function pressed(event) {
    if (event.button > 0) return;
    event.preventDefault();
    element.focus({ preventScroll: true });
    try {
      element.setPointerCapture(event.pointerId);
    } catch { /* the pointer is gone already */ }
    down.set(event.pointerId, place(event));
    if (down.size === 2 && people[chosen]) {
      if (!drag) stroking(true);
      drag = { kind: "pinch", from: [...down.values()], person: people[chosen] };
      return;
    }
    if (down.size > 1) return;
    const hit = under(place(event));
    if (!hit) return;
    chosen = hit.who;
    joint = hit.which;
    stroking(true);
    drag = { kind: joint < 0 ? "person" : "joint", at: place(event), person: people[chosen] };
    draw();
  }

  function moved(event) {
    if (!down.has(event.pointerId)) {
      element.classList.toggle("over", event.pointerType === "mouse" && under(place(event)) !== null);
      return;
    }
    const at = place(event);
    down.set(event.pointerId, at);
    if (!drag) return;
    if (drag.kind === "pinch") people = replaced(pinched());
    else if (drag.kind === "person") people = replaced(shifted(drag.person, at[0] - drag.at[0], at[1] - drag.at[1]));
    else {
      const [x, y] = drag.person.body[joint];
      const to = [clamp(x + at[0] - drag.at[0], 0, size[0]), clamp(y + at[1] - drag.at[1], 0, size[1])];
      people = replaced(withJoint(drag.person, joint, to, following || event.shiftKey));
    }
    draw();
  }

  function pinched() {
    const [a, b] = drag.from;
    const [c, d] = [...down.values()];
    const [u, v] = [[b[0] - a[0], b[1] - a[1]], [d[0] - c[0], d[1] - c[1]]];
    const factor = clamp(Math.hypot(...v) / (Math.hypot(...u) || 1), 0.2, 5);
    const angle = Math.atan2(v[1], v[0]) - Math.atan2(u[1], u[0]);
    const from = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    return shifted(turned(drag.person, factor, angle, from), (c[0] + d[0]) / 2 - from[0], (c[1] + d[1]) / 2 - from[1]);
  }

  function released(event) {
    if (!down.delete(event.pointerId)) return;
    if (event.type === "pointercancel" && drag) people = replaced(drag.person);
    if (drag) stroking(false);
    drag = null;
    settle();
    draw();
  }

  function keyed(event) {
    if (event.altKey || !people[chosen]) return;
    const control = event.ctrlKey || event.metaKey;
    const step = (event.shiftKey ? 0.05 : 0.01) * Math.min(...size);
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const person = people[chosen];
    if (event.key in arrows && !control) nudge(person, ...arrows[event.key]);
    else if (event.key === "PageDown" || event.key === "PageUp") next(event.key === "PageDown" ? 1 : -1);
    else if ((event.key === "Delete" || event.key === "Backspace") && joint >= 0) act(replaced(withoutJoint(person, joint)));
    else if (event.key === "+" || event.key === "=") act(replaced(turned(person, 1.06, 0, middle(person))));
    else if (event.key === "-") act(replaced(turned(person, 1 / 1.06, 0, middle(person))));
    else if (event.key.toLowerCase() === "m" && !control) act(replaced(mirrored(person)));
    else if (event.key === "Escape" && joint >= 0) joint = -1;
    else return;
    event.preventDefault();
    event.stopPropagation();
    draw();
  }

  function nudge(person, dx, dy) {
    const one = person.body[joint];
    const to = one && [clamp(one[0] + dx, 0, size[0]), clamp(one[1] + dy, 0, size[1])];
    people = replaced(one ? withJoint(person, joint, to, following) : shifted(person, dx, dy));
  }

  function next(by) {
    const known = people[chosen].body.map((one, at) => (one[2] > 0 ? at : -1)).filter((at) => at >= 0);
    joint = known[(known.indexOf(joint) + by + known.length + (joint < 0 && by < 0 ? 1 : 0)) % known.length];
  }

  function fit(now) {
    size = now;
    picture.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    element.style.aspectRatio = `${size[0]} / ${size[1]}`;
  }

  new ResizeObserver(() => draw()).observe(element);
  return {
    element,
    act,
    replaced,
    people: () => people,
    size: () => size,
    chosen: () => chosen,
    joint: () => joint,
    depth: () => ({ undo: past.length, redo: future.length }),
    undo: () => swap(past, future),
    redo: () => swap(future, past),
    follow: (on) => (following = on),
    choose(who, which = -1) {
      [chosen, joint] = [who, which];
      draw();
    },
    // Other people on another canvas; with `told` it is a change that can be undone.
    set(next, now, undoable = false) {
      fit(now);
      if (undoable) act(next, 0);
      else {
        people = before = next;
        [chosen, joint, past.length, future.length] = [0, -1, 0, 0];
        draw();
      }
    },
    resize(now) {
      const [was, next] = [size, now];
      if (was[0] === next[0] && was[1] === next[1]) return;
      people = before = fitted(people, was, next);
      past.length = future.length = 0;
      fit(next);
      draw();
    },
  };
}
