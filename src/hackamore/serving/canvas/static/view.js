/* Looking at a picture closer: zoom and pan of a canvas inside its frame, and where a pointer is on it. */

const FARTHEST = 1;
const NEAREST = 16;

/** Zoom 1 fits the frame. `frame` holds `content`, which is as large as the frame and is moved by a transform. */
export class View {
  constructor(frame, content) {
    this.frame = frame;
    this.content = content;
    this.reset();
  }

  /** The whole picture again. */
  reset() {
    [this.zoom, this.left, this.top] = [1, 0, 0];
    this.#apply();
  }

  /** Zooms by a factor about a point of the page, which stays where it is. */
  scale(factor, clientX, clientY) {
    const box = this.#inside();
    const zoom = Math.min(NEAREST, Math.max(FARTHEST, this.zoom * factor));
    const [x, y] = [(clientX ?? box.left + box.width / 2) - box.left, (clientY ?? box.top + box.height / 2) - box.top];
    this.left = x - ((x - this.left) * zoom) / this.zoom;
    this.top = y - ((y - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
    this.#apply();
  }

  /** Moves by pixels of the page. */
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.#apply();
  }

  /** A point of the page as shares of the picture, 0 to 1 inside it. */
  locate(clientX, clientY) {
    const box = this.#inside();
    return {
      x: (clientX - box.left - this.left) / (box.width * this.zoom || 1),
      y: (clientY - box.top - this.top) / (box.height * this.zoom || 1),
    };
  }

  /** A place in shares of the picture as pixels of the frame. */
  project(x, y) {
    const box = this.#inside();
    return { x: x * box.width * this.zoom + this.left, y: y * box.height * this.zoom + this.top };
  }

  // The frame within its border, in pixels of the page.
  #inside() {
    const { left, top } = this.frame.getBoundingClientRect();
    const { clientLeft, clientTop, clientWidth, clientHeight } = this.frame;
    return { left: left + clientLeft, top: top + clientTop, width: clientWidth, height: clientHeight };
  }

  #apply() {
    const box = this.#inside();
    // the picture's borders never come inside the frame
    this.left = Math.min(0, Math.max(box.width * (1 - this.zoom), this.left));
    this.top = Math.min(0, Math.max(box.height * (1 - this.zoom), this.top));
    this.content.style.transformOrigin = "0 0";
    this.content.style.transform =
      this.zoom === 1 ? "" : `translate(${this.left}px, ${this.top}px) scale(${this.zoom})`;
  }
}
