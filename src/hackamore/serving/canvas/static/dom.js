// Elements in one line: h("button", {class: "x", onclick: f, "aria-label": "…"}, child, …). Text is never markup.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key === "value" || key === "checked" || key === "disabled") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SHAPES = {
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  sun: "M12 7.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.7 1.7M17.3 17.3 19 19M5 19l1.7-1.7M17.3 6.7 19 5",
  dice: "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1zM8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01",
  close: "M6 6l12 12M18 6 6 18",
  again: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  chevron: "M7 10l5 5 5-5",
  stop: "M7 7h10v10H7z",
  play: "M8 5.5v13l11-6.5z",
};

// A line drawing of 24 units, in the colour of the text.
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", SHAPES[name]);
  picture.append(line);
  return picture;
}

// "changed" and its like: functions by name; one that throws does not stop the others.
export function createEvents() {
  const heard = new Map();
  return {
    on(name, told) {
      if (!heard.has(name)) heard.set(name, new Set());
      heard.get(name).add(told);
      return () => heard.get(name).delete(told);
    },
    emit(name, ...values) {
      for (const told of heard.get(name) ?? []) {
        try {
          told(...values);
        } catch (error) {
          console.error(error);
        }
      }
    },
  };
}

// Small settings that survive a reload; where the browser keeps nothing they last as long as the page.
export function createStore(prefix = "hackamore.") {
  const held = new Map();
  return {
    get(name, otherwise) {
      try {
        const text = localStorage.getItem(prefix + name);
        return text === null ? (held.get(name) ?? otherwise) : JSON.parse(text);
      } catch {
        return held.get(name) ?? otherwise;
      }
    },
    set(name, value) {
      held.set(name, value);
      try {
        localStorage.setItem(prefix + name, JSON.stringify(value));
      } catch { /* a full or forbidden storage: kept for this page only */ }
    },
  };
}

