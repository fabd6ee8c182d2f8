/* What can be undone. A step knows how to swap itself in and out: `swap()` puts what was there before in the place of
   what is there now, and keeps the latter; so one step serves both ways. */

const MOST_STEPS = 300;
const LEAST_STEPS = 50;
const MOST_BYTES = 64 * 1024 * 1024;

/** Steps back and forth. At least the newest 50 are kept, more while they are small. */
export class History {
  #done = [];
  #undone = [];

  /** Remembers a step {swap() -> what it touched, bytes}. */
  push(step) {
    this.#done.push(step);
    this.#undone = [];
    let bytes = this.#done.reduce((sum, one) => sum + one.bytes, 0);
    while (this.#done.length > LEAST_STEPS && (bytes > MOST_BYTES || this.#done.length > MOST_STEPS)) {
      bytes -= this.#done.shift().bytes;
    }
  }

  /** Takes the last step back; gives what its swap gave, or undefined when there is none. */
  undo() {
    return this.#move(this.#done, this.#undone);
  }

  /** Does again what was undone last. */
  redo() {
    return this.#move(this.#undone, this.#done);
  }

  /** Forgets everything. */
  clear() {
    this.#done = [];
    this.#undone = [];
  }

  /** Steps that can be undone, and done again. */
  get depth() {
    return [this.#done.length, this.#undone.length];
  }

  #move(from, to) {
    const step = from.pop();
    if (!step) return undefined;
    to.push(step);
    return step.swap();
  }
}
