// Small things that curves, sliders and skeletons share.

const SPACE = "http://www.w3.org/2000/svg";

// An SVG element: svg("circle", {class: "dot", cx: 3}, child, …).
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// `value` held between `low` and `high`.
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// A number without needless digits: 0.5, not 0.5000001.
export const short = (value, digits = 2) => String(Number(Number(value).toFixed(digits)));

// Follows one pointer from its press to its release: `moved(event)` on the way, `ended(event, cancelled)` once.
export function follow(node, event, moved, ended) {
  const mine = (one) => one.pointerId === event.pointerId;
  const onMove = (one) => mine(one) && moved(one);
  const done = (one) => {
    if (!mine(one)) return;
    node.removeEventListener("pointermove", onMove);
    for (const name of ["pointerup", "pointercancel"]) node.removeEventListener(name, done);
    ended(one, one.type === "pointercancel");
  };
  try {
    node.setPointerCapture(event.pointerId);
  } catch { /* a pointer that is gone already: its release was heard */ }
  node.addEventListener("pointermove", onMove);
  for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, done);
}
