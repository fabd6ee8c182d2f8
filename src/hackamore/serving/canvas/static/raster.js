// The raster editor of Paint, Sketch and masks: layers of index pictures, drawn on with hard edges.
//
//   const raster = new Raster({ width, height, colours, ground, label, changed, stroking });
//     colours    [r, g, b, a] by index; 0 is the clear one, shown where neither a layer nor the ground has a value
//     ground     (width, height) -> index picture under all layers; by default clear
//     changed()  a stroke ended (or a step was undone, a layer hidden …) and something really changed
//     stroking(busy)  a stroke began or ended; told before `changed`
//   raster.element            the frame: put it where it shall stand; its width decides, the ratio is the picture's
//   raster.tool = "brush"     | "line" | "rectangle" | "ellipse" | "box" | "ring" | "fill" | "eraser"; box and ring are outlines
//   raster.colour = 1         raster.size = 12 (pixels of the picture)          raster.pressure = true
//   raster.undo() .redo() .clear() .resize(width, height) .key(event) -> whether the event was a shortcut of it
//   raster.layers             layers.js; change them through raster.change((layers) => …), so that it can be undone
//   raster.flat() .strength() index picture as seen; 0..255 how strongly each pixel is drawn on
//   raster.file(palette)      -> Promise of base64 PNG of flat() in these [r, g, b], or of strength() without a palette
//   raster.state() .restore(state, told) .empty
//   raster.listen(f)          f() whenever tool, size, colour, layers or history changed, for tool bars
import { h } from "./dom.js";
import { History } from "./history.js";
import { Layers } from "./layers.js";
import { base64, encoded } from "./png.js";
import { SHAPES, cut, flood, joined, paste, stroke } from "./pixels.js";
import { listen } from "./pointers.js";
import { ARROWS, shortcut } from "./raster_keys.js";
import { View } from "./view.js";

const LARGEST = 0.5; // of the longer side

export class Raster {
  #history = new History();
  #heard = new Set();
  #stroke = null;
  #cursor = null;
  #tool = "brush";
  #size = 1;
  #colour = 1;

  constructor({ width, height, colours, ground, label = "", tools = null, changed = () => {}, stroking = () => {} }) {
    this.layers = new Layers(width, height, ground);
    this.colours = colours.map(([r, g, b, a = 255]) => [r, g, b, a]);
    this.tools = tools ?? ["brush", "line", "rectangle", "ellipse", "fill", "eraser"];
    this.pressure = true;
    this.changed = changed;
    this.stroking = stroking;
    this.canvas = h("canvas", { class: "rs-canvas" });
    this.ring = h("div", { class: "rs-ring", hidden: true });
    this.element = h("div", {
      class: "rs-frame", tabindex: 0, role: "application", "aria-label": label, onkeydown: (event) => this.#pressed(event),
      onblur: () => this.#end(), // a brush that the keyboard set down does not wait for ever
    }, this.canvas, this.ring);
    this.context = this.canvas.getContext("2d");
    this.view = new View(this.element, this.canvas);
    this.#size = Math.max(1, Math.round(Math.max(width, height) / 10));
    listen(this.element, this.view, {
      begin: (point, erase) => this.#begin(point, erase),
      move: (points) => points.forEach((point) => this.#move(point)),
      end: () => this.#end(),
      cancel: () => this.#cancel(),
      hover: (point) => this.#hover(point),
    });
    this.#fit();
  }

  get width() { return this.layers.width; }
  get height() { return this.layers.height; }
  get tool() { return this.#tool; }
  get size() { return this.#size; }
  get colour() { return this.#colour; }
  get largest() { return Math.round(Math.max(this.width, this.height) * LARGEST); }
  get empty() { return this.layers.empty; }
  get busy() { return this.#stroke !== null; }
  get depth() { return this.#history.depth; }

  set tool(name) {
    if (!this.tools.includes(name)) return;
    this.#tool = name;
    this.#tell();
  }

  set size(pixels) {
    this.#size = Math.min(this.largest, Math.max(1, Math.round(pixels)));
    this.#tell();
  }

  set colour(index) {
    this.#colour = index;
    if (this.#tool === "eraser") this.#tool = "brush";
    this.#tell();
  }

  listen(told) {
    this.#heard.add(told);
    return () => this.#heard.delete(told);
  }

  // Something about the layers that can be undone; `act` gives false where it changed nothing.
  change(act) {
    this.#cancel();
    let other = this.layers.arrangement();
    if (act(this.layers) === false) return;
    this.#history.push({
      bytes: this.layers.lost(other),
      swap: () => {
        const now = this.layers.arrangement();
        this.layers.arrange(other);
        other = now;
        return this.#whole();
      },
    });
    this.#draw(this.#whole());
    this.#tell();
    this.changed();
  }

  // Chooses the layer that is drawn on: nothing that is seen changes.
  choose(id) {
    this.layers.chosen = id;
    this.#tell();
  }

  undo() {
    if (this.#stroke) this.#cancel();
    else this.#turn(this.#history.undo());
  }

  redo() {
    this.#cancel();
    this.#turn(this.#history.redo());
  }

  clear() {
    if (!this.layers.all.every(({ picture }) => picture.data.every((value) => value === 0))) {
      this.change((layers) => layers.clear());
    }
  }

  // Another size. What was drawn is kept, what could be undone is not.
  resize(width, height) {
    this.#cancel();
    const factor = Math.max(width, height) / Math.max(this.width, this.height);
    if (!this.layers.resize(width, height)) return;
    this.#history.clear();
    this.#size = Math.max(1, Math.round(this.#size * factor));
    this.#fit();
    this.#tell();
  }

  flat() { return this.layers.flat(); }
  strength() { return this.layers.strength(); }
  state() { return this.layers.state(); }

  async file(palette = null) {
    return base64(await encoded(palette ? this.flat() : this.strength(), palette));
  }

  // What state() gave; undoable, and told as a change unless `told` is false.
  restore(state, told = true) {
    if (told) this.change((layers) => layers.restore(state));
    else if (this.layers.restore(state) !== false) {
      this.#history.clear();
      this.#draw(this.#whole());
      this.#tell();
    }
  }

  // A shortcut that holds wherever the focus is on the page, as long as nothing is being typed.
  key(event) {
    const act = shortcut(this, event);
    if (!act) return false;
    event.preventDefault();
    act();
    return true;
  }

  // With the keyboard alone: arrows move the brush, space sets it down and lifts it.
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // Ctrl+Enter is the page's
    const step = ARROWS[event.key];
    this.element.classList.remove("by-hand");
    if (event.key === "Escape" && this.#stroke) this.#cancel();
    else if (step) {
      const by = event.shiftKey ? 1 : 4;
      const at = this.#cursor ?? { x: 0.5, y: 0.5 };
      const clamp = (value) => Math.min(1, Math.max(0, value));
      this.#hover({ x: clamp(at.x + (step[0] * by) / this.width), y: clamp(at.y + (step[1] * by) / this.height), pressure: null });
      if (this.#stroke) this.#move(this.#cursor);
    } else if (event.key === " " || event.key === "Enter") {
      if (this.#stroke) this.#end();
      else this.#begin(this.#cursor ?? { x: 0.5, y: 0.5, pressure: null }, false);
    } else return;
    event.preventDefault();
  }

  #point({ x, y, pressure }) {
    const share = this.pressure && pressure !== null && pressure !== undefined ? 0.2 + 0.8 * pressure : 1;
    return { x: x * this.width, y: y * this.height, size: Math.max(1, this.#size * share) };
  }

  #begin(told, erase) {
    this.#end();
    if (!this.layers.active.visible) this.change(({ active }) => { active.visible = true; });
    const layer = this.layers.active;
    const tool = erase ? "eraser" : this.#tool;
    const point = this.#point(told);
    this.#stroke = { layer, tool, before: layer.picture.data.slice(), start: point, last: point, area: null,
      value: tool === "eraser" ? 0 : this.#colour };
    this.stroking(true);
    if (tool === "fill") this.#stroke.area = flood(layer.picture, this.flat(), point, this.#stroke.value);
    else if (!SHAPES[tool]) this.#stroke.area = stroke(layer.picture, point, point, this.#stroke.value);
    this.#draw(this.#stroke.area);
    this.#hover(told);
  }

  #move(told) {
    this.#hover(told);
    const now = this.#stroke;
    if (!now || now.tool === "fill") return;
    const point = this.#point(told);
    if (SHAPES[now.tool]) {
      const old = now.area;
      this.#take(old);
      now.area = SHAPES[now.tool](now.layer.picture, now.start, point, now.value);
      this.#draw(joined(old, now.area));
    } else {
      const area = stroke(now.layer.picture, now.last, point, now.value);
      now.area = joined(now.area, area);
      now.last = point;
      this.#draw(area);
    }
  }

  #end() {
    const done = this.#stroke;
    if (!done) return;
    this.#stroke = null;
    this.stroking(false);
    if (!done.area) return;
    const { picture } = done.layer;
    const old = cut({ ...picture, data: done.before }, done.area);
    const fresh = cut(picture, done.area);
    if (old.every((value, at) => value === fresh[at])) return;
    const step = { bytes: old.length, old, swap: () => {
      const now = cut(picture, done.area);
      paste(picture, done.area, step.old);
      step.old = now;
      return done.area;
    } };
    this.#history.push(step);
    this.#tell();
    this.changed();
  }

  // Gives a stroke up: the picture is as before it.
  #cancel() {
    const given = this.#stroke;
    if (!given) return;
    this.#take(given.area);
    this.#stroke = null;
    this.#draw(given.area);
    this.stroking(false);
  }

  #take(area) {
    const { layer, before } = this.#stroke;
    if (area) paste(layer.picture, area, cut({ ...layer.picture, data: before }, area));
  }

  #turn(area) {
    if (!area) return;
    this.#draw(area);
    this.#tell();
    this.changed();
  }

  #hover(point) {
    this.#cursor = point ?? this.#cursor;
    this.ring.hidden = !point;
    if (!point) return;
    const { x, y } = this.view.project(point.x, point.y);
    const across = (this.#size / this.width) * this.element.clientWidth * this.view.zoom;
    this.ring.style.cssText = `width: ${across}px; height: ${across}px; transform: translate(${x - across / 2}px, ${y - across / 2}px)`;
  }

  #whole() { return { x: 0, y: 0, width: this.width, height: this.height }; }

  #fit() {
    [this.canvas.width, this.canvas.height] = [this.width, this.height];
    this.element.style.aspectRatio = `${this.width} / ${this.height}`;
    this.#draw(this.#whole());
  }

  #draw(area) {
    if (!area) return;
    const image = this.context.createImageData(area.width, area.height);
    this.layers.shown(area, image, this.colours);
    this.context.putImageData(image, area.x, area.y);
  }

  #tell() { for (const told of this.#heard) told(); }
}
