// People as OpenPose tells them, and what can be done to them; pixels of a canvas, left and right the person's own.
//
// A person is {body: 18 × [x, y, seen], left_hand, right_hand, face}: the last three are points like the body's, or null.

export const JOINTS = 18;
const PARTS = { pose_keypoints_2d: ["body", JOINTS], hand_left_keypoints_2d: ["left_hand", 21],
  hand_right_keypoints_2d: ["right_hand", 21], face_keypoints_2d: ["face", 70] };
const MIRRORED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16];
// what hangs on a joint: the limb beyond it follows when it is moved
const BEYOND = { 0: [14, 15, 16, 17], 2: [3, 4], 3: [4], 5: [6, 7], 6: [7], 8: [9, 10], 9: [10], 11: [12, 13], 12: [13] };
const MOST_PEOPLE = 20;

// Shares of a person's own box, nose first in OpenPose's order.
const FIGURES = {
  standing: [[50, 9], [50, 20], [39, 20], [35, 36], [33, 51], [61, 20], [65, 36], [67, 51], [43, 52], [42, 73], [41, 94],
    [57, 52], [58, 73], [59, 94], [47, 7], [53, 7], [43, 8], [57, 8]],
  walking: [[52, 9], [50, 20], [41, 21], [32, 35], [36, 49], [59, 20], [68, 34], [64, 48], [44, 52], [34, 71], [20, 88],
    [55, 52], [66, 70], [69, 93], [50, 7], [55, 7], [45, 8], [58, 8]],
  arms: [[50, 14], [50, 25], [39, 25], [27, 15], [20, 1], [61, 25], [73, 15], [80, 1], [43, 55], [38, 75], [34, 95],
    [57, 55], [62, 75], [66, 95], [47, 12], [53, 12], [43, 13], [57, 13]],
  sitting: [[50, 11], [50, 24], [37, 25], [31, 43], [40, 57], [63, 25], [69, 43], [60, 57], [41, 62], [33, 66], [33, 94],
    [59, 62], [67, 66], [67, 94], [46, 8], [54, 8], [42, 10], [58, 10]],
};
export const FIGURE_NAMES = Object.keys(FIGURES);

const points = (part) => part?.filter((one) => one[2] > 0) ?? [];
const parts = (person) => [person.body, person.left_hand, person.right_hand, person.face];

// A person in one of the known attitudes on a canvas, its middle at the share `place` of the width.
export function newPerson(name, [width, height], place = 0.5) {
  const side = 0.86 * height;
  const body = FIGURES[name].map(([x, y]) => [width * place + ((x - 50) / 100) * side * 0.8, height * 0.07 + (y / 100) * side, 1]);
  return { body: body.map(([x, y, seen]) => [round(x), round(y), seen]), left_hand: null, right_hand: null, face: null };
}

const round = (value) => Math.round(value * 100) / 100;

// The same person with every point that is there moved by `move(x, y) -> [x, y]`.
export function moved(person, move) {
  const all = (part) => part && part.map(([x, y, seen]) => (seen > 0 ? [...move(x, y).map(round), seen] : [0, 0, 0]));
  return { body: all(person.body), left_hand: all(person.left_hand), right_hand: all(person.right_hand), face: all(person.face) };
}

export const shifted = (person, dx, dy) => moved(person, (x, y) => [x + dx, y + dy]);

// Larger and turned about a place.
export function turned(person, factor, angle, [cx, cy]) {
  const [cos, sin] = [Math.cos(angle) * factor, Math.sin(angle) * factor];
  return moved(person, (x, y) => [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos]);
}

// Left and right exchanged about the person's own middle.
export function mirrored(person) {
  const [left, , right] = box(person);
  const flip = moved(person, (x, y) => [left + right - x, y]);
  return { body: MIRRORED.map((joint) => flip.body[joint]), left_hand: flip.right_hand, right_hand: flip.left_hand, face: flip.face };
}

// One joint at a new place; with `following` what hangs on it goes along. One that was not there is there now.
export function withJoint(person, joint, [x, y], following = false) {
  const [oldX, oldY, seen] = person.body[joint];
  const along = following && seen > 0 ? (BEYOND[joint] ?? []) : [];
  const body = person.body.map((one, at) => {
    if (at === joint) return [round(x), round(y), 1];
    return along.includes(at) && one[2] > 0 ? [round(one[0] + x - oldX), round(one[1] + y - oldY), one[2]] : one;
  });
  return { ...person, body };
}

export const withoutJoint = (person, joint) =>
  ({ ...person, body: person.body.map((one, at) => (at === joint ? [0, 0, 0] : one)) });

// [left, top, right, bottom] of all that is there.
export function box(person) {
  const all = parts(person).flatMap(points);
  const [xs, ys] = [all.map((one) => one[0]), all.map((one) => one[1])];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

export const middle = (person) => {
  const [left, top, right, bottom] = box(person);
  return [(left + right) / 2, (top + bottom) / 2];
};

export const isThere = (person) => points(person.body).length > 0;

// People on a canvas of another size, cut as a picture in the middle is.
export function fitted(people, [width, height], [wide, high]) {
  const factor = Math.max(wide / width, high / height);
  const [dx, dy] = [(wide - width * factor) / 2, (high - height * factor) / 2];
  return people.map((person) => moved(person, (x, y) => [x * factor + dx, y * factor + dy]));
}

// One picture of OpenPose's JSON.
export function written(people, [width, height]) {
  const flat = (part) => part && part.flat();
  const told = people.map((person) => Object.fromEntries(
    Object.entries(PARTS).map(([name, [part]]) => [name, flat(person[part])]).filter(([, values]) => values)));
  return { people: told, canvas_width: width, canvas_height: height };
}

// The inverse: {people, size} of text or of a value; throws an Error whose `reason` names a string of words.
export function readPeople(told) {
  let value = told;
  if (typeof told === "string") {
    try {
      value = JSON.parse(told);
    } catch {
      throw wrong("json");
    }
  }
  const entry = Array.isArray(value) ? value[0] : value;
  if (!Array.isArray(entry?.people)) throw wrong("people");
  const size = [entry.canvas_width, entry.canvas_height];
  if (!size.every((side) => Number.isInteger(side) && side >= 1 && side <= 65536)) throw wrong("canvas");
  if (!entry.people.length) throw wrong("nobody");
  if (entry.people.length > MOST_PEOPLE) throw wrong("crowd", { count: MOST_PEOPLE });
  const people = entry.people.map((one) => readPerson(one));
  const all = people.flatMap(parts).flatMap(points).flatMap(([x, y]) => [x, y]);
  // some editors write shares of the canvas
  const shares = all.length && Math.max(...all) <= 1.5 && Math.min(...all) >= 0 && Math.min(...size) > 2;
  const scaled = shares ? people.map((one) => moved(one, (x, y) => [x * size[0], y * size[1]])) : people;
  if (!scaled.some(isThere)) throw wrong("nobody");
  return { people: scaled.filter(isThere), size };
}

function readPerson(told) {
  const person = Object.fromEntries(Object.entries(PARTS).map(([name, [part, count]]) => {
    const values = told?.[name];
    if (values === null || values === undefined || values.length === 0) return [part, null];
    if (!Array.isArray(values) || values.length !== 3 * count || !values.every(Number.isFinite)) throw wrong("points", { name, count });
    return [part, Array.from({ length: count }, (_, at) => {
      const [x, y, seen] = values.slice(3 * at, 3 * at + 3);
      return seen > 0 && x >= 0 && y >= 0 ? [x, y, seen] : [0, 0, 0];
    })];
  }));
  return { ...person, body: person.body ?? Array.from({ length: JOINTS }, () => [0, 0, 0]) };
}

function wrong(reason, values = {}) {
  return Object.assign(new Error(reason), { reason, values });
}
