// Schedules as text, "0.2@0.1/0.5@0.3/0@0.7": strength@place points with rising places from 0 to 1.

import { short } from "./parts.js";

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

// Points [{place, strength}] of a schedule's text, or null where it is none.
export function parseSchedule(text) {
  const points = [];
  for (const part of text.trim().split("/")) {
    const [strength, place, ...rest] = part.split("@").map((one) => one.trim());
    if (rest.length || !NUMBER.test(strength) || !NUMBER.test(place ?? "")) return null;
    points.push({ place: Number(place), strength: Number(strength) });
  }
  const rising = points.every((one, at) => at === 0 || one.place > points[at - 1].place);
  const inside = points.every((one) => one.place >= 0 && one.place <= 1 && Math.abs(one.strength) <= 10);
  return rising && inside ? points : null;
}

// The text of points.
export const writeSchedule = (points) => points.map((one) => `${short(one.strength)}@${short(one.place)}`).join("/");

// The strength at a place, linear between points, the ends held.
export function strengthAt(points, place) {
  if (place <= points[0].place) return points[0].strength;
  for (let at = 1; at < points.length; at += 1) {
    const [before, after] = [points[at - 1], points[at]];
    if (place > after.place) continue;
    const share = (place - before.place) / (after.place - before.place);
    return before.strength + share * (after.strength - before.strength);
  }
  return points[points.length - 1].strength;
}
