// What a unit of the stack says, as values and as a UnitRequest; nothing here draws.

import { parseSchedule, strengthAt } from "./schedule.js";

export const MODES = ["balanced", "prompt", "control", "guess"];
const PLAIN = { on: true, by: "window", scale: 1, start: 0, end: 1, schedule: "1@0/0@1", mode: "balanced", model: null, mask: null };
const ALIKE = { mlsd_network: "mlsd", seg_meadow: "seg", seg_ade20k: "seg", pose_json: "pose" };
const FAMILIES = new Set(["softedge", "scribble", "lineart", "normal", "depth"]);

// A unit as it begins.
export const plain = (more = {}) => ({ ...PLAIN, ...more });

// The kind whose hints look alike: softedge for softedge_hed.
export function family(kind) {
  const first = kind.split("_")[0];
  return ALIKE[kind] ?? (FAMILIES.has(first) ? first : kind);
}

// The controls of a base: [{name, kind}].
export const controlsOf = (info, base) => info.controls[base] ?? [];

// Those of them that take a hint of `kind`, the ones that say exactly so first; "inpaint" and the like name themselves.
export function takers(info, base, kind) {
  const rank = (one) => (one.kind === kind ? 0 : one.kind && family(one.kind) === family(kind) ? 1 : one.kind ? 3 : 2);
  return controlsOf(info, base).filter((one) => rank(one) < 3).sort((a, b) => rank(a) - rank(b));
}

// Whether a base has a control of its own for hints of `kind`, not only one that does not say what it takes.
export const offers = (info, base, kind) => takers(info, base, kind).some((one) => one.kind);

// The UnitRequest of a source ({kind, image | people, hint, parameters …}) under the values; `known` are its takers.
export function asked(source, values, known) {
  const told = { ...source, mode: values.mode };
  for (const name of ["scale", "start", "end", "schedule"]) delete told[name];
  if (values.by === "curve") told.schedule = values.schedule;
  else Object.assign(told, { scale: values.scale, start: values.start, end: values.end });
  if (values.mask) told.mask = values.mask;
  const chosen = known.find((one) => one.name === values.model);
  // a control of a kindred kind is not found by the hint's kind: it is named
  if (chosen) told.model = chosen.name;
  else if (known.length && known[0].kind !== source.kind) told.model = known[0].name;
  return told;
}

// Source and values of a UnitRequest: the inverse of `asked`.
export function parted(request) {
  const { scale, start, end, schedule, mode, mask, model, ...source } = request;
  for (const [name, value] of Object.entries(source)) if (value === null) delete source[name];
  const values = plain({ scale: scale ?? 1, start: start ?? 0, end: end ?? 1, mode: mode ?? "balanced",
    mask: mask ?? null, model: model ?? null });
  return { source, values: schedule ? { ...values, by: "curve", schedule } : values };
}

// Whether a UnitRequest says nothing in a run of `steps`, as in a short preview of a narrow window.
export function silent(request, steps) {
  const points = request.schedule ? parseSchedule(request.schedule) : null;
  const { scale, start, end } = { scale: request.scale ?? 1, start: request.start ?? 0, end: request.end ?? 1 };
  const at = (index) =>
    points ? strengthAt(points, index / steps) : index / steps >= start && (index + 1) / steps <= end ? scale : 0;
  return Array.from({ length: steps }, (_, index) => at(index)).every((strength) => strength === 0);
}
