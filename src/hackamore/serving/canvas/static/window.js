// A slider with two handles: from where to where a control is heard, as shares of the steps.

import { h } from "./dom.js";
import { clamp, follow, short } from "./parts.js";

const LEAST = 0.05;
const STEP = 0.05;

// A window slider. `told(start, end)` is called when a handle is let go and the window really changed.
// Answers {element, value() -> [start, end], set(start, end)}.
export function createWindow({ start = 0, end = 1, words, told = () => {} }) {
  const values = [start, end];
  let before = [...values];
  const fill = h("div", { class: "window-fill" });
  const handles = [words.start, words.end].map((label, index) =>
    h("div", { class: "window-handle", role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 1,
      "data-handle": index, onkeydown: (event) => pressed(event, index), onkeyup: settle, onblur: settle }),
  );
  const rail = h("div", { class: "window-rail", onpointerdown: grabbed }, fill, handles);
  const figure = h("output", { class: "window-figure" });
  const element = h("div", { class: "window", role: "group", "aria-label": words.name }, rail, figure);

  function draw() {
    handles.forEach((handle, index) => {
      handle.style.left = `${values[index] * 100}%`;
      handle.setAttribute("aria-valuenow", short(values[index]));
    });
    fill.style.left = `${values[0] * 100}%`;
    fill.style.right = `${(1 - values[1]) * 100}%`;
    figure.textContent = `${Math.round(values[0] * 100)}–${Math.round(values[1] * 100)} %`;
  }

  function move(index, place) {
    const low = index ? values[0] + LEAST : 0;
    const high = index ? 1 : values[1] - LEAST;
    values[index] = Math.round(clamp(place, low, high) * 100) / 100;
    draw();
  }

  function settle() {
    if (values[0] === before[0] && values[1] === before[1]) return;
    before = [...values];
    told(...values);
  }

  function grabbed(event) {
    const box = rail.getBoundingClientRect();
    const place = (one) => clamp((one.clientX - box.left) / box.width, 0, 1);
    const at = place(event);
    // where both handles lie on one side of the finger, the nearer one is meant
    const index = Math.abs(at - values[0]) < Math.abs(at - values[1]) ? 0 : 1;
    handles[index].focus({ preventScroll: true });
    event.preventDefault();
    move(index, at);
    follow(rail, event, (one) => move(index, place(one)), settle);
  }

  function pressed(event, index) {
    const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -0.1, PageUp: 0.1 };
    const ends = { Home: 0, End: 1 };
    if (event.key in steps) move(index, values[index] + steps[event.key]);
    else if (event.key in ends) move(index, ends[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  draw();
  return {
    element,
    value: () => [...values],
    set(from, to) {
      values[0] = clamp(from, 0, 1);
      values[1] = clamp(to, 0, 1);
      before = [...values];
      draw();
    },
  };
}
