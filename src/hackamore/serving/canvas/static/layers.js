/* A stack of layers over a ground. The ground is what shows where every layer is clear; nobody draws on it. */

import { blank, packed, scaled, unpacked } from "./pixels.js";

export const MOST_LAYERS = 12;
let made = 0;

const fresh = (picture, name, visible = true, opacity = 1) => ({ id: ++made, picture, name, visible, opacity });

/** Layers from the lowest to the highest: {id, picture, name, visible, opacity}, and which one is drawn on. */
export class Layers {
  /** `ground(width, height)` gives the index picture under all layers. */
  constructor(width, height, ground = blank) {
    this.make = ground;
    this.ground = ground(width, height);
    this.clear();
  }

  get width() {
    return this.ground.width;
  }

  get height() {
    return this.ground.height;
  }

  /** The layer that is drawn on. */
  get active() {
    return this.find(this.chosen) ?? this.all[this.all.length - 1];
  }

  find(id) {
    return this.all.find((layer) => layer.id === id);
  }

  /** Puts a clear layer above the active one. */
  add(name = String(this.all.length + 1)) {
    const layer = fresh(blank(this.width, this.height), name);
    this.all.splice(this.all.indexOf(this.active) + 1, 0, layer);
    this.chosen = layer.id;
    return layer;
  }

  /** Takes a layer out; the last one stays. Gives whether it went. */
  remove(id) {
    const place = this.all.findIndex((layer) => layer.id === id);
    if (place < 0 || this.all.length === 1) return false;
    this.all.splice(place, 1);
    if (this.chosen === id) this.chosen = this.all[Math.max(0, place - 1)].id;
    return true;
  }

  /** Moves a layer up (1) or down (-1). Gives whether it moved. */
  move(id, by) {
    const place = this.all.findIndex((layer) => layer.id === id);
    const next = place + by;
    if (place < 0 || next < 0 || next >= this.all.length) return false;
    this.all.splice(next, 0, ...this.all.splice(place, 1));
    return true;
  }

  /** One clear layer. */
  clear() {
    this.all = [fresh(blank(this.width, this.height), "1")];
    this.chosen = this.all[0].id;
  }

  /** Whether nothing was drawn on any layer that is shown. */
  get empty() {
    return this.all.every((layer) => !layer.visible || layer.picture.data.every((value) => value === 0));
  }

  /** What is seen: of each pixel the highest layer's value that is not clear, else the ground's. */
  flat() {
    const seen = { width: this.width, height: this.height, data: this.ground.data.slice() };
    for (const layer of this.all) {
      if (!layer.visible || layer.opacity === 0) continue;
      const { data } = layer.picture;
      for (let at = 0; at < data.length; at++) if (data[at]) seen.data[at] = data[at];
    }
    return seen;
  }

  /** How strongly each pixel is drawn on, 0 to 255: the greatest opacity of the layers that are not clear there. */
  strength() {
    const result = blank(this.width, this.height);
    for (const layer of this.all) {
      if (!layer.visible) continue;
      const level = Math.round(layer.opacity * 255);
      const { data } = layer.picture;
      for (let at = 0; at < data.length; at++) if (data[at] && result.data[at] < level) result.data[at] = level;
    }
    return result;
  }

  /** Writes a rectangle of what is seen to an ImageData of its size; `colours` are [r, g, b, a] by index. */
  shown(area, image, colours) {
    const { data } = image;
    const layers = this.all.filter((layer) => layer.visible && layer.opacity > 0);
    for (let y = 0, at = 0; y < area.height; y++) {
      for (let x = 0; x < area.width; x++, at += 4) {
        const place = (area.y + y) * this.width + area.x + x;
        let [r, g, b, a] = colours[this.ground.data[place]];
        for (const { picture, opacity } of layers) {
          const value = picture.data[place];
          if (!value) continue;
          const colour = colours[value];
          if (opacity === 1) [r, g, b, a] = colour;
          else {
            r += (colour[0] - r) * opacity;
            g += (colour[1] - g) * opacity;
            b += (colour[2] - b) * opacity;
            a += (colour[3] - a) * opacity;
          }
        }
        data[at] = r;
        data[at + 1] = g;
        data[at + 2] = b;
        data[at + 3] = a;
      }
    }
  }

  /** Another size: every layer by its nearest pixels, the ground made anew. */
  resize(width, height) {
    if (width === this.width && height === this.height) return false;
    this.ground = this.make(width, height);
    for (const layer of this.all) layer.picture = scaled(layer.picture, width, height);
    return true;
  }

  /** Which layers there are and how they are set, for `arrange`; pictures are shared, not copied. */
  arrangement() {
    return { all: this.all.map((layer) => ({ layer, ...layer })), chosen: this.chosen };
  }

  /** The layers of an arrangement again, as they were set then. */
  arrange({ all, chosen }) {
    this.all = all.map(({ layer, ...set }) => Object.assign(layer, set));
    this.chosen = chosen;
  }

  /** Bytes that only an arrangement still holds. */
  lost({ all }) {
    const here = new Set(this.all.map((layer) => layer.picture));
    return all.reduce((sum, { picture }) => sum + (here.has(picture) ? 64 : picture.data.length), 0);
  }

  /** As JSON. */
  state() {
    return {
      width: this.width,
      height: this.height,
      active: this.all.indexOf(this.active),
      layers: this.all.map(({ picture, name, visible, opacity }) => ({ name, visible, opacity, ...packed(picture) })),
    };
  }

  /** What `state` gave, at the present size. Gives whether there was any. */
  restore(state) {
    if (!state?.layers?.length) return false;
    const { width, height } = this;
    this.all = state.layers.slice(0, MOST_LAYERS).map((told) => {
      const picture = unpacked(told);
      const fits = picture.width === width && picture.height === height;
      return fresh(fits ? picture : scaled(picture, width, height), told.name, told.visible, told.opacity);
    });
    this.chosen = (this.all[state.active] ?? this.all[0]).id;
    return true;
  }
}
