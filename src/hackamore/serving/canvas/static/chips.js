// One-click words: time of day, season, weather, as the worlds' captions say them. A chip's first phrase is written.
import { h } from "./dom.js";

const clauses = (prompt) => prompt.split(",").map((one) => one.trim()).filter(Boolean);
const ends = (phrase) => new RegExp(`(^|\\s)${phrase.replace(/ /g, "\\s+")}$`, "i");

// Which chip of a group the prompt says: a clause that is, or ends with, one of its phrases (times end a clause).
export function said(prompt, group) {
  for (const [name, phrases] of Object.entries(group)) {
    if (clauses(prompt).some((clause) => phrases.some((phrase) => holds(clause, phrase)))) return name;
  }
  return null;
}

const holds = (clause, phrase) => clause.toLowerCase() === phrase || (phrase.includes(" ") && ends(phrase).test(clause));

function without(clause, phrases) {
  for (const phrase of phrases) {
    if (clause.toLowerCase() === phrase) return "";
    if (phrase.includes(" ") && ends(phrase).test(clause)) return clause.replace(ends(phrase), "").trim();
  }
  return clause;
}

// The prompt with the group's words taken out and, where `name` is one, its own put in.
export function write(prompt, group, name, kind) {
  const all = Object.values(group).flat().sort((one, other) => other.length - one.length);
  const left = clauses(prompt).map((clause) => without(clause, all)).filter(Boolean);
  if (!name) return left.join(", ");
  const words = group[name][0];
  if (kind === "time" && left.length) return [`${left[0]} ${words}`, ...left.slice(1)].join(", ");
  return [...left, words].join(", ");
}

export async function createChips(app, prompt, changed) {
  const groups = await (await fetch(new URL("chips.json", import.meta.url))).json();
  const chips = [];
  const rows = Object.entries(groups).map(([kind, group]) => {
    const label = h("span", { class: "hm-label small", id: `hm-chips-${kind}` }, app.t(`chips.${kind}`));
    const row = h("div", { class: "hm-chips", role: "group", "aria-labelledby": `hm-chips-${kind}` });
    for (const name of Object.keys(group)) {
      const chip = h("button", { class: "hm-chip", type: "button", "aria-pressed": "false", "data-chip": name, onclick: () => press(kind, group, name) },
        app.t(`chip.${name}`));
      chips.push({ chip, group, name });
      row.append(chip);
    }
    return h("div", { class: "hm-chip-row" }, label, row);
  });

  function press(kind, group, name) {
    prompt.value = write(prompt.value, group, said(prompt.value, group) === name ? null : name, kind);
    draw();
    changed();
  }

  function draw() {
    for (const { chip, group, name } of chips) chip.setAttribute("aria-pressed", String(said(prompt.value, group) === name));
  }

  draw();
  return { element: h("div", { class: "hm-chip-rows" }, rows), draw };
}
