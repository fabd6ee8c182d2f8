// The stack of control units. `create(app)` gives {element, all(tab), pin(source, thumb), state(), restore(state),
// restoreRequest(request), show(reports)}. The shown tab's own units stand first, then those pinned from other tabs.
//
// A tab tells its hints by `hint()`, or several by `hints()`; `thumb(kind)` may give a picture for the card, and
// `take(source)` may take a restored unit's picture into the tab itself.

import { h } from "./dom.js";
import { paintMask } from "./mask.js";
import { createCard } from "./unit_card.js";
import { asked, parted, plain, takers } from "./unit_values.js";

const DRAWN = ["paint", "sketch", "pose", "photo"];

export function create(app) {
  const { t, store } = app;
  const own = new Map(Object.entries(store.get("units", {})).map(([key, values]) => [key, unit(key, plain(values))]));
  let pinned = [];
  let made = 0;
  let shown = []; // the cards that stand now, by their units
  let sent = []; // the units of the newest request, in its order
  const cards = new Map();
  const list = h("div", { class: "un-list" });
  const none = h("p", { class: "un-none" }, t("units.none"));
  const trouble = h("p", { hidden: true });
  const full = h("p", { hidden: true });
  const element = h("section", { class: "hm-card un-stack", "aria-label": t("units.title") },
    h("details", { class: "un-fold", open: true }, h("summary", {}, h("strong", {}, t("units.title"))), none, list, trouble, full));

  function unit(key, values) {
    const [tab, kind] = key.split(":");
    return { id: key.replace(/\W/g, "-"), key, own: tab, kind, values, source: null, thumb: null };
  }

  const known = (one) => takers(app.info, app.base().name, one.kind);
  const heard = (one) => one.values.on && known(one).length > 0;

  // The tab's own units as its hints are now.
  async function present(tab) {
    if (!tab?.hint) return [];
    const sources = tab.hints ? await tab.hints() : tab.empty?.() ? [] : [await tab.hint()];
    return sources.filter(Boolean).map((source) => {
      const key = `${tab.name}:${source.kind}`;
      if (!own.has(key)) own.set(key, unit(key, plain()));
      return Object.assign(own.get(key), { source, thumb: tab.thumb?.(source.kind) ?? source.image ?? null });
    });
  }

  async function all(tab = app.tab) {
    const units = beside(await present(tab));
    if (tab === app.tab) draw(units);
    sent = units.filter(heard);
    return sent.map((one) => asked(one.source, one.values, known(one)));
  }

  // A hint that is kept and is the tab's own too is heard once.
  function beside(present) {
    const own = new Set(present.filter((one) => one.values.on).map((one) => JSON.stringify(one.source)));
    return [...present, ...pinned.filter((one) => !own.has(JSON.stringify(one.source)))];
  }

  function draw(units) {
    for (const one of units) if (!cards.has(one.id)) cards.set(one.id, createCard(app, one, acts));
    const same = units.length === shown.length && units.every((one, at) => one === shown[at]);
    shown = units;
    for (const one of units) cards.get(one.id).update({ thumb: one.thumb, known: known(one), fidelity: one.fidelity });
    if (!same) list.replaceChildren(...units.map((one) => cards.get(one.id).element));
    none.hidden = units.length > 0;
  }

  const acts = {
    changed(one) {
      if (one.own) keep();
      app.emit("changed", "units");
    },
    pin: (one) => pin(one.source, one.thumb, one.values),
    remove(one) {
      app.fail(null, full);
      pinned = pinned.filter((other) => other !== one);
      cards.delete(one.id);
      refresh();
      app.emit("changed", "units");
    },
    mask: (one) => paintMask(app, one.values.mask, one.thumb),
  };

  // Masks are pictures: too large to be kept beside the small settings.
  function keep() {
    store.set("units", Object.fromEntries([...own].map(([key, one]) => [key, { ...one.values, mask: null }])));
  }

  function added(source, thumb, values) {
    made += 1;
    const one = { id: `pinned-${made}`, own: null, kind: source.kind, values: plain(values), source: structuredClone(source), thumb };
    pinned.push(one);
    return one;
  }

  // Keeps a tab's hint as it is now, beside whatever other tabs say. Gives whether there was room.
  function pin(source, thumb = null, values = {}) {
    app.fail(null, full);
    if (shown.filter((one) => one.own).length + pinned.length >= app.info.limits.units) {
      app.fail({ words: t("units.full", { count: app.info.limits.units }) }, full);
      return false;
    }
    added(source, thumb, values);
    refresh();
    app.toast(t("units.pinned.now"), "good");
    app.emit("changed", "units");
    return true;
  }

  function state() {
    const kept = pinned.map(({ source, thumb, values }) => ({ source, thumb, values }));
    return structuredClone({ own: Object.fromEntries([...own].map(([key, one]) => [key, one.values])), pinned: kept });
  }

  async function restore(told) {
    forget();
    for (const [key, values] of Object.entries(told?.own ?? {})) own.set(key, unit(key, plain(values)));
    for (const { source, thumb, values } of told?.pinned ?? []) added(source, thumb, values);
    keep();
    await refresh();
  }

  function forget() {
    pinned = [];
    own.clear();
    cards.clear();
    shown = [];
    list.replaceChildren();
  }

  // Each control of a request goes back to the tab that can draw it; what none takes is pinned as it is.
  async function restoreRequest(request) {
    forget();
    const taken = new Set();
    for (const control of request.controls ?? []) {
      const { source, values } = parted(dressed(control));
      const tab = DRAWN.map((name) => app.tabs[name]).find((one) => one?.take && !taken.has(one) && one.takes?.(source));
      if (tab && (await tab.take(source))) {
        taken.add(tab);
        own.set(`${tab.name}:${source.kind}`, unit(`${tab.name}:${source.kind}`, values));
      } else added(source, source.hint ? source.image : null, values);
    }
    const [first] = taken;
    // a tab whose drawing had no part in that picture must not add to it now
    if (first && app.tab !== first) app.show(first.name);
    if (!first) for (const one of await present(app.tab)) one.values.on = false;
    await refresh();
  }

  async function refresh() {
    try {
      const units = await present(app.tab);
      draw(beside(units));
      app.fail(null, trouble);
    } catch (error) {
      app.fail(error, trouble);
    }
  }

  // The figures of a finished picture beside the units that made it.
  function show(reports) {
    if (!reports || reports.length !== sent.length) return;
    reports.forEach((report, at) => (sent[at].fidelity = report.fidelity));
    draw(shown);
  }

  let waiting = null;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(refresh, 120);
  };
  app.on("tab", refresh);
  app.on("base", soon);
  app.on("changed", (name) => name !== "units" && soon());
  app.on("made", (job) => show(job.pictures?.[0]?.units));
  return { element, all, pin, state, restore, restoreRequest, show };
}

// Pictures that the server gives back stand in base64 alone; an <img> wants to know what they are.
function dressed(control) {
  const dress = (text) => (text && !text.startsWith("data:") ? `data:image/png;base64,${text}` : text);
  return { ...control, image: dress(control.image), mask: dress(control.mask) };
}
