// What the canvas keeps in the browser (IndexedDB): frames with their whole inputs, and paintings between visits.
//
// A frame is {id, at, word, tab, kind, job, seed, key, weights, picture: Blob, inputs, units, kept}. Long texts inside its inputs
// (pictures in base64) are stored once, however many frames share them. The newest 500 frames stay, and those that the
// person kept; where the browser gives no storage, everything lives as long as the page.

const NAME = "hackamore-canvas";
export const MOST_FRAMES = 500;
const LONG = 2000; // characters; a shorter text stays inside its frame
const MARK = "part:";

const asked = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const finished = (transaction) => new Promise((resolve, reject) => {
  transaction.oncomplete = () => resolve();
  transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
});

// 106 bits of a text: enough that two pictures of one person never share a name. (crypto.subtle wants https.)
export function digest(text) {
  const lanes = [0xdeadbeef, 0x41c6ce57, 0x9e3779b9, 0x85ebca6b];
  const primes = [2654435761, 1597334677, 2246822507, 3266489909];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    for (let lane = 0; lane < 4; lane++) lanes[lane] = Math.imul(lanes[lane] ^ code, primes[lane]);
  }
  return lanes.map((lane, at) => (Math.imul(lane ^ (lane >>> 15), primes[at]) >>> 0).toString(36)).join("-") + `-${text.length}`;
}

// The value with its long texts taken out; they are put into `parts` by name.
function split(value, parts) {
  if (typeof value === "string") {
    if (value.length <= LONG && !value.startsWith(MARK)) return value;
    const name = digest(value);
    parts.set(name, value);
    return MARK + name;
  }
  if (Array.isArray(value)) return value.map((one) => split(one, parts));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, split(one, parts)]));
  }
  return value;
}

function whole(value, parts) {
  if (typeof value === "string") return value.startsWith(MARK) ? (parts.get(value.slice(MARK.length)) ?? "") : value;
  if (Array.isArray(value)) return value.map((one) => whole(one, parts));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, whole(one, parts)]));
  }
  return value;
}

async function opened() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    const frames = request.result.createObjectStore("frames", { keyPath: "id", autoIncrement: true });
    frames.createIndex("parts", "parts", { multiEntry: true });
    frames.createIndex("kept", "kept");
    request.result.createObjectStore("parts");
    request.result.createObjectStore("held");
  };
  const database = await asked(request);
  database.onversionchange = () => database.close();
  return database;
}

// `tell(reason, error)` is called with "none" (no storage at all) or "full" (frames are shown, but no more are stored).
export async function openFrames(tell) {
  try {
    return new Stored(await opened(), tell);
  } catch (error) {
    tell("none", error);
    return new Passing();
  }
}

// Frames as long as the page lives.
class Passing {
  #frames = [];
  #held = new Map();
  #last = 0;

  async add(frame) {
    const stored = { ...frame, id: ++this.#last };
    this.#frames.push(stored);
    const loose = this.#frames.filter((one) => !one.kept);
    if (loose.length > MOST_FRAMES) this.#frames.splice(this.#frames.indexOf(loose[0]), 1);
    return stored;
  }

  async newest(count = MOST_FRAMES) { return this.#frames.slice(-count).reverse(); }
  async inputs(id) { return this.#frames.find((one) => one.id === id)?.inputs ?? null; }
  async keep(id, kept) { Object.assign(this.#frames.find((one) => one.id === id) ?? {}, { kept }); }
  async remove(id) { this.#frames = this.#frames.filter((one) => one.id !== id); }
  async hold(name, value) { this.#held.set(name, structuredClone(value)); }
  async held(name) { return this.#held.get(name); }
}

class Stored {
  #passing = new Passing();

  constructor(database, tell) {
    this.database = database;
    this.tell = tell;
  }

  // Stores a frame and lets the oldest go; gives it with its id. One that finds no room lives as long as the page.
  async add(frame) {
    const parts = new Map();
    const stored = { ...frame, kept: 0, inputs: split(frame.inputs, parts) };
    stored.parts = [...parts.keys()];
    try {
      const transaction = this.database.transaction(["frames", "parts"], "readwrite");
      const done = finished(transaction);
      for (const [name, text] of parts) transaction.objectStore("parts").put(text, name);
      const number = asked(transaction.objectStore("frames").add(stored));
      number.catch(() => {}); // told by `done`
      await done;
      stored.id = await number;
    } catch (error) {
      this.tell("full", error);
      const passing = await this.#passing.add(frame);
      return { ...passing, id: -passing.id };
    }
    await this.#trim().catch((error) => this.tell("full", error));
    return { ...stored, inputs: undefined };
  }

  // The newest frames, newest first, without their inputs.
  async newest(count = MOST_FRAMES) {
    const store = this.database.transaction("frames").objectStore("frames");
    const found = [];
    await new Promise((resolve, reject) => {
      const request = store.openCursor(null, "prev");
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || found.length >= count) return resolve();
        found.push({ ...cursor.value, inputs: undefined });
        return cursor.continue();
      };
    });
    return found;
  }

  // Everything that a frame was made from, or null when it is gone.
  async inputs(id) {
    if (id < 0) return this.#passing.inputs(-id);
    const transaction = this.database.transaction(["frames", "parts"]);
    const frame = await asked(transaction.objectStore("frames").get(id));
    if (!frame) return null;
    const parts = await Promise.all(frame.parts.map(async (name) => [name, await asked(transaction.objectStore("parts").get(name))]));
    return whole(frame.inputs, new Map(parts));
  }

  // Whether a frame stays when the strip is full.
  async keep(id, kept) {
    if (id < 0) return this.#passing.keep(-id, kept);
    const transaction = this.database.transaction("frames", "readwrite");
    const frame = await asked(transaction.objectStore("frames").get(id));
    if (frame) transaction.objectStore("frames").put({ ...frame, kept: Number(kept) });
    return finished(transaction);
  }

  async remove(id) {
    if (id < 0) return this.#passing.remove(-id);
    const transaction = this.database.transaction(["frames", "parts"], "readwrite");
    const done = finished(transaction);
    await this.#drop(transaction, id);
    return done;
  }

  async hold(name, value) {
    try {
      const transaction = this.database.transaction("held", "readwrite");
      const done = finished(transaction);
      transaction.objectStore("held").put(value, name);
      await done;
    } catch (error) {
      this.tell("full", error);
    }
  }

  async held(name) {
    return asked(this.database.transaction("held").objectStore("held").get(name));
  }

  // The oldest that nobody kept, as many as there are too many.
  async #trim() {
    const transaction = this.database.transaction(["frames", "parts"], "readwrite");
    const done = finished(transaction);
    const loose = transaction.objectStore("frames").index("kept");
    const beyond = (await asked(loose.count(0))) - MOST_FRAMES;
    const oldest = beyond > 0 ? await asked(loose.getAllKeys(0, beyond)) : [];
    for (const id of oldest) await this.#drop(transaction, id);
    return done;
  }

  // A frame and those of its parts that no other frame needs.
  async #drop(transaction, id) {
    const [frames, parts] = [transaction.objectStore("frames"), transaction.objectStore("parts")];
    const frame = await asked(frames.get(id));
    if (!frame) return;
    frames.delete(id);
    for (const name of frame.parts) {
      if (!(await asked(frames.index("parts").count(name)))) parts.delete(name);
    }
  }
}
