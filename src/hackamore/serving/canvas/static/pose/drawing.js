// People as OpenPose draws them, in SVG: what is seen is what the control is given.

import { svg } from "../parts.js";

const FACE = "#fff";
const HAND = "rgb(0, 0, 255)";
const STRENGTH = 0.6; // of a limb's colour

const there = (point) => point && point[2] > 0;
const rgb = (colour, share = 1) => `rgb(${colour.map((one) => Math.round(one * share)).join(", ")})`;

// The drawing of one person. `bones`: bones.js; `unit` is 1 on a canvas of 512 pixels.
export function drawPerson(person, bones, unit) {
  const limbs = bones.limbs.map(([from, to], at) => limb(person.body[from], person.body[to], rgb(bones.limbColours[at], STRENGTH), 4 * unit));
  const joints = person.body.map((one, at) => there(one) &&
    svg("circle", { cx: one[0], cy: one[1], r: Math.max(1, 4 * unit), fill: rgb(bones.colours[at]), "data-joint": at }));
  const dots = (part, colour, radius) => (part ?? []).filter(there).map(([x, y]) => svg("circle", { cx: x, cy: y, r: Math.max(0.6, radius * unit), fill: colour }));
  return svg("g", {}, limbs, joints, dots(person.left_hand, HAND, 2), dots(person.right_hand, HAND, 2), dots(person.face, FACE, 1.5));
}

function limb(from, to, fill, half) {
  if (!there(from) || !there(to)) return null;
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const [cx, cy] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
  const angle = (Math.atan2(dy, dx) * 180) / Math.PI;
  return svg("ellipse", { cx, cy, rx: Math.hypot(dx, dy) / 2, ry: Math.max(1, half), transform: `rotate(${angle} ${cx} ${cy})`, fill });
}

// How far a place is from the line between two joints, in pixels of the canvas.
export function apart([x, y], from, to) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = dx * dx + dy * dy;
  const share = length ? Math.min(1, Math.max(0, ((x - from[0]) * dx + (y - from[1]) * dy) / length)) : 0;
  return Math.hypot(x - from[0] - share * dx, y - from[1] - share * dy);
}
