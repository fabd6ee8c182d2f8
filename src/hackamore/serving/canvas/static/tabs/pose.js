// Pose: a skeleton that is dragged into place. Its hint are the people themselves, not a picture of them.

import { h, icon } from "../dom.js";
import { bonesOf } from "../pose/bones.js";
import { drawPerson } from "../pose/drawing.js";
import { createEditor } from "../pose/editor.js";
import { FIGURE_NAMES, fitted, isThere, middle, mirrored, newPerson, readPeople, turned, withJoint, withoutJoint, written } from "../pose/people.js";
import { svg } from "../parts.js";
import { chooser, tool } from "../toolbar.js";
import { controlsOf, offers } from "../unit_values.js";

const MOST_PEOPLE = 20;
const LARGEST_FILE = 2_000_000;
const SAVED = 512; // pixels of a saved picture's shorter side, at least: what OpenPose's lines are made for

export function create(app) {
  const { t } = app;
  const bones = bonesOf(app.info);
  const name = (joint) => t(`joint.${bones.names[joint].replace(/ /g, "_")}`);
  const editor = createEditor({ bones, words: { canvas: t("pose.canvas") }, changed: () => app.emit("changed", "pose"), told: tell, stroking: (busy) => app.emit("stroke", busy) });
  const trouble = h("p", { hidden: true });
  const closed = h("div", { class: "po-closed", role: "note", hidden: true });
  const said = h("p", { class: "po-said", "aria-live": "polite" });
  const button = (act, done, shape) => h("button", { class: "hm-button small", type: "button", "data-act": act, onclick: done }, shape && icon(shape), t(`pose.${act}`));
  const tools = {
    mirror: () => change(mirrored),
    smaller: () => change((person) => turned(person, 1 / 1.1, 0, middle(person))),
    larger: () => change((person) => turned(person, 1.1, 0, middle(person))),
    undo: editor.undo,
    redo: editor.redo,
    joint: dropJoint,
    person: dropPerson,
  };
  const buttons = Object.fromEntries(Object.entries(tools).map(([act, done]) => [act, tool(act, t(`pose.${act}`), done)]));
  const figures = chooser("add", t("pose.add"), FIGURE_NAMES.map((one) => [one, t(`pose.figure.${one}`)]), added);
  const joints = h("select", { class: "hm-input", id: "po-joints", "aria-label": t("pose.joints"), onchange: picked });
  const followed = h("input", { type: "checkbox", role: "switch", id: "po-follow", onchange: () => editor.follow(followed.checked) });
  const file = h("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": t("pose.open"), onchange: opened });
  const bar = h("div", { class: "un-tools", role: "toolbar", "aria-label": t("pose.tools") }, figures, Object.values(buttons));
  const about = h("div", { class: "po-row" }, h("span", { class: "hm-select" }, joints, icon("chevron")),
    h("label", { class: "hm-switch", title: t("pose.follow.why") }, followed, h("span", { class: "hm-label" }, t("pose.follow"))));
  const exchange = h("div", { class: "po-row" }, button("open", () => file.click()), button("paste", pasted), button("copy", copied), button("save", saved, "down"), button("png", savedPicture, "down"), file);
  const desk = h("div", { class: "po-desk" }, h("div", { class: "po-holder" }, editor.element, said), about, exchange, trouble, h("p", { class: "un-quiet", id: "po-how" }, t("pose.how")));
  const element = h("section", { class: "po-tab", ondragover: (event) => event.preventDefault(), ondrop: dropped }, bar, h("div", { class: "po-main" }, closed, desk));
  const open = () => offers(app.info, app.base().name, "pose");

  editor.set([newPerson("standing", app.settings.size())], app.settings.size());
  app.on("size", (size) => editor.resize(size));
  app.on("base", guard);
  guard();

  // Without a pose control a pose steers nothing, and words say so; it is still drawn, saved and read.
  function guard() {
    const others = [...new Set((app.info.bases ?? []).map((one) => one.name))].filter((base) => offers(app.info, base, "pose"));
    const kinds = [...new Set(controlsOf(app.info, app.base().name).map((one) => one.kind).filter(Boolean))].map((kind) => (t.has(`kind.${kind}`) ? t(`kind.${kind}`) : kind));
    closed.hidden = open();
    closed.replaceChildren(h("strong", {}, t("pose.closed", { base: app.base().name })),
      h("p", {}, others.length ? t("pose.closed.others", { bases: others.join(", ") }) : t("pose.closed.none")),
      h("p", {}, t("pose.closed.kinds", { kinds: kinds.join(", ") || "–" })), h("p", {}, t("pose.closed.still")));
  }

  function tell() {
    const [people, chosen, joint] = [editor.people(), editor.chosen(), editor.joint()];
    const person = people[chosen];
    const { undo, redo } = editor.depth();
    buttons.undo.disabled = !undo;
    buttons.redo.disabled = !redo;
    buttons.joint.disabled = joint < 0;
    for (const one of ["mirror", "smaller", "larger", "person"]) buttons[one].disabled = !person;
    joints.disabled = !person;
    const words = (at) => (person?.body[at][2] > 0 ? name(at) : t("pose.absent", { joint: name(at) }));
    const labels = [t("pose.joints"), ...bones.names.map((_, at) => words(at))];
    if (labels.join() !== [...joints.options].map((one) => one.text).join()) {
      joints.replaceChildren(...labels.map((text, at) => h("option", { value: at - 1 }, text)));
    }
    joints.value = String(joint);
    const who = people.length > 1 ? t("pose.said.person", { number: chosen + 1, count: people.length }) : "";
    const text = person ? [who, joint >= 0 && name(joint)].filter(Boolean).join(" · ") : t("pose.said.nobody");
    said.classList.toggle("empty", !text);
    if (said.textContent !== text) said.textContent = text;
  }

  const change = (make) => editor.people()[editor.chosen()] && editor.act(editor.replaced(make(editor.people()[editor.chosen()])));

  function added(figure) {
    const people = editor.people();
    app.fail(null, trouble);
    if (people.length >= MOST_PEOPLE) return app.fail({ words: t("pose.wrong.crowd", { count: MOST_PEOPLE }) }, trouble);
    const places = [0.5, 0.25, 0.75, 0.37, 0.63];
    const person = newPerson(figure, editor.size(), places[people.length % places.length]);
    return editor.act([...people, person], people.length);
  }

  // Choosing a joint that is not there puts it back near its neighbour.
  function picked() {
    const [at, person] = [Number(joints.value), editor.people()[editor.chosen()]];
    if (at >= 0 && !(person.body[at][2] > 0)) {
      const near = bones.limbs.flatMap(([a, b]) => (a === at ? [b] : b === at ? [a] : [])).find((one) => person.body[one][2] > 0);
      const [x, y] = near === undefined ? middle(person) : person.body[near];
      editor.act(editor.replaced(withJoint(person, at, [x + editor.size()[0] * 0.05, y + editor.size()[1] * 0.05])));
    }
    editor.choose(editor.chosen(), at);
  }

  function dropJoint() {
    const [person, joint] = [editor.people()[editor.chosen()], editor.joint()];
    const left = withoutJoint(person, joint);
    if (isThere(left)) editor.act(editor.replaced(left));
    else dropPerson();
  }

  function dropPerson() {
    editor.act(editor.people().filter((_, at) => at !== editor.chosen()), 0);
  }

  function taken(text, undoable = true) {
    app.fail(null, trouble);
    try {
      const { people, size } = readPeople(text);
      editor.set(fitted(people, size, editor.size()), editor.size(), undoable);
      return true;
    } catch (error) {
      app.fail(error.reason ? { words: t(`pose.wrong.${error.reason}`, error.values) } : error, trouble);
      return false;
    }
  }

  async function read(one) {
    if (one.size > LARGEST_FILE) return app.fail({ words: t("pose.wrong.large") }, trouble);
    return taken(await one.text());
  }

  async function opened() {
    const [one] = file.files;
    if (one) await read(one);
    file.value = "";
  }

  function dropped(event) {
    event.preventDefault();
    const one = event.dataTransfer.files[0];
    if (one) read(one);
  }

  async function pasted() {
    try {
      taken(await navigator.clipboard.readText());
    } catch {
      app.fail({ words: t("pose.wrong.clipboard") }, trouble);
    }
  }

  const json = () => JSON.stringify([written(editor.people(), editor.size())]);

  async function copied() {
    try {
      await navigator.clipboard.writeText(json());
      app.toast(t("pose.copied"), "good");
    } catch {
      app.fail({ words: t("pose.wrong.clipboard") }, trouble);
    }
  }

  function save(blob, file) {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function saved() {
    save(new Blob([json()], { type: "application/json" }), "pose.json");
  }

  async function savedPicture() {
    const factor = Math.max(1, SAVED / Math.min(...editor.size()));
    const size = editor.size().map((side) => Math.round(side * factor));
    const image = new Image();
    image.src = seen(512, size);
    await image.decode();
    const canvas = h("canvas");
    [canvas.width, canvas.height] = size;
    canvas.getContext("2d").drawImage(image, 0, 0, ...size);
    canvas.toBlob((blob) => save(blob, "pose.png"), "image/png");
  }

  function shortcut(event) {
    if (event.target.closest?.("input, textarea, select, dialog") || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key === "z") (event.shiftKey ? editor.redo : editor.undo)();
    else if (key === "y") editor.redo();
    else return;
    event.preventDefault();
  }

  // The people on black as an SVG's address; lines are as on a canvas of `fine` pixels.
  function seen(fine, [wide, high] = editor.size()) {
    const [width, height] = editor.size();
    const drawing = editor.people().map((person) => drawPerson(person, bones, Math.min(width, height) / fine));
    const all = svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width: wide, height: high },
      svg("rect", { width, height, fill: "#000" }), drawing);
    return `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(all))}`;
  }

  const empty = () => !open() || !editor.people().some(isThere);
  return {
    element,
    name: "pose",
    hint: async () => (empty() ? null : { kind: "pose", people: written(editor.people(), editor.size()) }),
    thumb: () => seen(400),
    nothing: () => (open() ? null : t("pose.closed", { base: app.base().name })),
    takes: (source) => source.kind === "pose" && Boolean(source.people),
    take: (source) => taken(source.people, false),
    state: () => ({ people: written(editor.people(), editor.size()) }),
    restore: (told) => (told?.people?.people?.length ? taken(told.people, false) : editor.set([], editor.size())),
    shown: () => document.addEventListener("keydown", shortcut),
    hidden: () => document.removeEventListener("keydown", shortcut),
    empty,
  };
}
