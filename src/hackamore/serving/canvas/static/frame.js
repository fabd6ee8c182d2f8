// The frame of the page: the bar with its tabs, the desk (tab, live picture, strip), the column at the right.
import { h, icon } from "./dom.js";
import { LANGUAGES } from "./i18n.js";

export function createFrame(app, names, pages) {
  const { t } = app;
  const stage = h("div", { class: "hm-stage" });
  const strip = h("div", { class: "hm-strip-holder" });
  const side = h("aside", { class: "hm-side", "aria-label": t("label.settings") });
  const desk = h("div", { class: "hm-desk" }, h("div", { class: "hm-work" }, stage, strip), side);
  const page = h("div", { class: "hm-page", hidden: true });
  const buttons = new Map(names.map((name) => [name, tabButton(app, name)]));
  const tablist = h("nav", { class: "hm-tabs", role: "tablist", "aria-label": t("label.tabs"), onkeydown: turn },
    ...buttons.values());
  const element = h("div", { class: "hm-app" },
    h("header", { class: "hm-bar" }, brand(), tablist, h("div", { class: "hm-tools" }, languageButton(app), themeButton(app))),
    h("div", { class: "hm-main" }, desk, page));

  function fill() {
    const drawn = names.filter((name) => !pages.has(name) && app.tabs[name]);
    stage.append(...drawn.map((name) => panel(name, app.tabs[name].element)));
    if (app.live?.element) stage.append(app.live.element);
    if (app.live?.strip) strip.append(app.live.strip);
    side.append(...[app.settings?.element, app.units?.element].filter(Boolean));
    page.append(...names.filter((name) => pages.has(name) && app.tabs[name]).map((name) => panel(name, app.tabs[name].element)));
  }

  function panel(name, inside) {
    inside.id = `hm-panel-${name}`;
    inside.hidden = true;
    inside.setAttribute("role", "tabpanel");
    inside.setAttribute("aria-labelledby", `hm-tab-${name}`);
    return inside;
  }

  function show(name) {
    if (!app.tabs[name] || app.tab === app.tabs[name]) return;
    if (app.tab) {
      app.tab.element.hidden = true;
      app.tab.hidden?.();
    }
    app.tab = app.tabs[name];
    app.tab.element.hidden = false;
    desk.hidden = pages.has(name);
    page.hidden = !pages.has(name);
    for (const [other, button] of buttons) {
      button.setAttribute("aria-selected", String(other === name));
      button.tabIndex = other === name ? 0 : -1;
    }
    buttons.get(name).scrollIntoView({ block: "nearest", inline: "nearest" });
    app.store.set("tab", name);
    if (!pages.has(name)) app.store.set("tab.work", name);
    history.replaceState(null, "", `#${name}`);
    app.tab.shown?.();
    app.emit("tab", name);
  }

  function turn(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const known = names.filter((name) => app.tabs[name]);
    const next = known[(known.indexOf(app.tab.name) + step + known.length) % known.length];
    show(next);
    buttons.get(next).focus();
    event.preventDefault();
  }

  return { element, fill, show };
}

function brand() {
  const picture = h("img", { src: new URL("icon.svg", import.meta.url).href, alt: "", width: 32, height: 32 });
  return h("div", { class: "hm-brand" }, picture, h("span", {}, "Hackamore"));
}

function tabButton(app, name) {
  return h("button", {
    class: "hm-tab", id: `hm-tab-${name}`, role: "tab", "aria-selected": "false", "aria-controls": `hm-panel-${name}`,
    onclick: () => app.show(name),
  }, app.t(`tab.${name}`));
}

function languageButton(app) {
  const other = Object.keys(LANGUAGES).find((one) => one !== app.t.language);
  return h("button", {
    class: "hm-button quiet", lang: other, "aria-label": LANGUAGES[other], title: LANGUAGES[other],
    onclick: () => {
      app.store.set("language", other);
      app.emit("leaving");
      location.reload();
    },
  }, other.toUpperCase());
}

function themeButton(app) {
  const button = h("button", { class: "hm-button quiet square", "aria-label": app.t("action.theme"), title: app.t("action.theme") });
  const draw = () => button.replaceChildren(icon(app.theme.dark ? "sun" : "moon"));
  button.addEventListener("click", () => {
    app.theme.toggle();
    draw();
    app.emit("theme");
  });
  draw();
  return button;
}
