/* Drawing on index pictures: one byte a pixel, 0 is clear, 1 and more are colours of a palette. Nothing is ever blended,
   so that every colour of a painting is exact. A picture is {width, height, data: Uint8Array}; each function that draws
   gives back the rectangle {x, y, width, height} that it may have touched, or null. */

/** A clear picture. */
export const blank = (width, height) => ({ width, height, data: new Uint8Array(width * height) });

/** The part of a rectangle with these borders (right and bottom excluded) that lies in the picture, or null. */
export function within(picture, left, top, right, bottom) {
  const x = Math.max(0, Math.floor(left));
  const y = Math.max(0, Math.floor(top));
  const width = Math.min(picture.width, Math.ceil(right)) - x;
  const height = Math.min(picture.height, Math.ceil(bottom)) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : null;
}

/** The smallest rectangle that holds both; either may be null. */
export function joined(one, other) {
  if (!one || !other) return one || other;
  const x = Math.min(one.x, other.x);
  const y = Math.min(one.y, other.y);
  return {
    x, y,
    width: Math.max(one.x + one.width, other.x + other.width) - x,
    height: Math.max(one.y + one.height, other.y + other.height) - y,
  };
}

/** Sets every pixel of a rectangle of which `inside(x, y)`, asked for its centre, is true. */
function fillWhere(picture, area, value, inside) {
  if (!area) return null;
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) {
      if (inside(x + 0.5, y + 0.5)) picture.data[y * picture.width + x] = value;
    }
  }
  return area;
}

/** A stroke with round ends from `from` to `to`, points {x, y, size}; sizes are diameters in pixels. */
export function stroke(picture, from, to, value) {
  const radii = [from.size / 2, to.size / 2];
  const reach = Math.max(...radii) + 1;
  const area = within(
    picture,
    Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach,
    Math.max(from.x, to.x) + reach, Math.max(from.y, to.y) + reach,
  );
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  fillWhere(picture, area, value, (x, y) => {
    const share = length ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length)) : 0;
    const radius = radii[0] + (radii[1] - radii[0]) * share;
    return (x - from.x - share * dx) ** 2 + (y - from.y - share * dy) ** 2 <= radius * radius;
  });
  // the finest brush, set down between four pixels, still leaves a mark
  for (const point of [from, to]) dot(picture, point, value);
  return area;
}

function dot(picture, point, value) {
  const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
  if (x >= 0 && y >= 0 && x < picture.width && y < picture.height) picture.data[y * picture.width + x] = value;
}

/** A filled rectangle between two corners. */
export function rectangle(picture, from, to, value) {
  const area = within(
    picture, Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y),
  );
  return fillWhere(picture, area, value, () => true);
}

/** A filled ellipse in the rectangle between two corners. */
export function ellipse(picture, from, to, value) {
  const [cx, cy] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
  const [rx, ry] = [Math.abs(to.x - from.x) / 2, Math.abs(to.y - from.y) / 2];
  if (rx < 0.5 || ry < 0.5) return null;
  const area = within(picture, cx - rx, cy - ry, cx + rx, cy + ry);
  return fillWhere(picture, area, value, (x, y) => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1);
}

/** The outline of a rectangle or of an ellipse (`round`), drawn with a stroke of `size` pixels. */
export function outline(picture, from, to, size, value, round) {
  const [cx, cy] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
  const [rx, ry] = [(to.x - from.x) / 2, (to.y - from.y) / 2];
  const parts = round ? Math.max(24, Math.ceil(Math.abs(rx) + Math.abs(ry))) : 4;
  const at = (part) => {
    const angle = (2 * Math.PI * (part + (round ? 0 : 0.5))) / parts;
    const grow = round ? 1 : Math.SQRT2;
    return { x: cx + rx * grow * Math.cos(angle), y: cy + ry * grow * Math.sin(angle), size };
  };
  let touched = null;
  for (let part = 0; part < parts; part++) {
    touched = joined(touched, stroke(picture, at(part), at(part + 1), value));
  }
  return touched;
}

/** The tools that draw between two corners; `from` tells the size. */
export const SHAPES = {
  line: (picture, from, to, value) => stroke(picture, from, { ...to, size: from.size }, value),
  rectangle,
  ellipse,
  box: (picture, from, to, value) => outline(picture, from, to, from.size, value, false),
  ring: (picture, from, to, value) => outline(picture, from, to, from.size, value, true),
};

/** Fills what hangs together with the pixel at `point` and has its value in `seen`, the picture as it is looked at. */
export function flood(picture, seen, point, value) {
  const { width, height } = picture;
  const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
  if (x < 0 || y < 0 || x >= width || y >= height) return null;
  const wanted = seen.data[y * width + x];
  const done = new Uint8Array(width * height);
  const rest = [y * width + x];
  let [left, top, right, bottom] = [x, y, x, y];
  while (rest.length) {
    const place = rest.pop();
    if (done[place] || seen.data[place] !== wanted) continue;
    const row = Math.floor(place / width);
    const start = row * width;
    let [first, last] = [place, place];
    while (first > start && !done[first - 1] && seen.data[first - 1] === wanted) first--;
    while (last < start + width - 1 && !done[last + 1] && seen.data[last + 1] === wanted) last++;
    done.fill(1, first, last + 1);
    picture.data.fill(value, first, last + 1);
    [left, right] = [Math.min(left, first - start), Math.max(right, last - start)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    for (const next of [row > 0 ? -width : 0, row < height - 1 ? width : 0]) {
      for (let at = first; next && at <= last; at++) {
        const near = at + next;
        if (!done[near] && seen.data[near] === wanted) rest.push(near);
      }
    }
  }
  return within(picture, left, top, right + 1, bottom + 1);
}

/** The bytes of a rectangle. */
export function cut(picture, area) {
  const bytes = new Uint8Array(area.width * area.height);
  for (let row = 0; row < area.height; row++) {
    const start = (area.y + row) * picture.width + area.x;
    bytes.set(picture.data.subarray(start, start + area.width), row * area.width);
  }
  return bytes;
}

/** Puts bytes that were cut back to their place. */
export function paste(picture, area, bytes) {
  for (let row = 0; row < area.height; row++) {
    const line = bytes.subarray(row * area.width, (row + 1) * area.width);
    picture.data.set(line, (area.y + row) * picture.width + area.x);
  }
}

/** The same picture at another size, each pixel the nearest one. */
export function scaled(picture, width, height) {
  const result = blank(width, height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * picture.height) / height) * picture.width;
    for (let x = 0; x < width; x++) {
      result.data[y * width + x] = picture.data[row + Math.floor(((x + 0.5) * picture.width) / width)];
    }
  }
  return result;
}

/** A picture as a short text: runs of equal bytes, each as its value and its length in groups of seven bits. */
export function packed(picture) {
  const bytes = [];
  const { data } = picture;
  for (let at = 0; at < data.length; ) {
    let end = at + 1;
    while (end < data.length && data[end] === data[at]) end++;
    bytes.push(data[at]);
    for (let length = end - at; ; length >>>= 7) {
      bytes.push((length & 127) | (length > 127 ? 128 : 0));
      if (length <= 127) break;
    }
    at = end;
  }
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.slice(at, at + 8192));
  return { width: picture.width, height: picture.height, runs: btoa(text) };
}

/** What `packed` made, as a picture again; a damaged one gives as much of it as there is. */
export function unpacked({ width, height, runs }) {
  const picture = blank(width, height);
  const text = atob(runs);
  for (let at = 0, place = 0; at < text.length && place < picture.data.length; ) {
    const value = text.charCodeAt(at++);
    let [length, shift, byte] = [0, 0, 128];
    while (byte & 128 && at < text.length) {
      byte = text.charCodeAt(at++);
      length |= (byte & 127) << shift;
      shift += 7;
    }
    picture.data.fill(value, place, (place += length));
  }
  return picture;
}
