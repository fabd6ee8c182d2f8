// The page. `boot(element)` fills it and makes `app`, which every part is given:
//
//   api                 api.js                      t(name, values)   the words of the language
//   store.get/set       small settings, kept        toast(words, kind)  "info" | "good" | "wait" | "error"
//   info                /v1/info as it was told     settings, units, live, gallery   the parts
//   tab                 the shown tab's module value; tabs: all of them by name
//   base()              the chosen base's entry of info.bases: {name, size, steps, guidance, schedulers, …}
//   request(tab, kind)  the Request as it would be sent; kind "preview" (few steps), "live" or "full"
//   submit(tab, kind, {signal})  request() and api.submit() of it
//   weights(base, units)  the hashes of what those were made of, as text; null where something is not loaded
//   restore(request)    prompt, seed, units … of a Request into the page ("use again")
//   show(name)          turns to a tab           fail(error, beside)  an error in words, beside an element or as a toast
//   on(event, f), emit(event, …)   "changed" (name), "tab" (name), "base" (entry), "size" ([w, h]), "theme", "ready",
//                                  "made" (job: a full one is done), "again" (request: use it again),
//                                  "picture" ({id, index, seed, url}: a finished picture that stands beside the painting)
//   picture             the last of these, to begin from
//
// Tabs are tabs/<name>.js with `create(app)`; live.js and units.js export `create(app) -> {element, …}`; of live.js also
// `strip`, the element of the frames. A part that does not load takes only itself away.
import { createApi } from "./api.js";
import { createEvents, createStore, h } from "./dom.js";
import { createFrame } from "./frame.js";
import { createWords, preferred } from "./i18n.js";
import { createRequests } from "./requests.js";
import { createTheme } from "./theme.js";
import { askToken, createToasts } from "./toasts.js";

export const TABS = ["paint", "sketch", "pose", "photo", "gallery", "models"];
const PAGES = new Set(["gallery", "models"]);

export async function boot(element) {
  if (element.dataset.booted) return;
  element.dataset.booted = "true";
  leave(element.closest("[class*='gradio-container-']"));
  const root = new URL("../", import.meta.url);
  const store = createStore();
  const t = await createWords(root, preferred(store));
  const toasts = createToasts(t);
  document.body.append(toasts.element);
  const app = { t, store, root, toast: toasts.toast, theme: createTheme(store), tabs: {}, ...createEvents() };
  app.fail = (error, beside) => toasts.fail(error, beside);
  app.api = createApi({ root, store, t, tell: app.toast, askToken: (wrong) => askToken(t, wrong) });
  await ready(app, element);
  Object.assign(app, createRequests(app));
  app.on("picture", (picture) => (app.picture = picture));
  const frame = createFrame(app, TABS, PAGES);
  app.show = frame.show;
  await build(app, frame);
  element.replaceChildren(frame.element);
  element.removeAttribute("aria-busy");
  frame.show(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : store.get("tab", "paint"));
  window.hackamore = app;
  app.emit("ready");
}

// Gradio resets buttons and inputs below the element that bears its version as a class, in rules stronger than a page's
// own; nothing but ours stands there, so the class goes, and goes again should it be written anew.
function leave(container) {
  if (!container) return;
  const strip = () => {
    for (const name of [...container.classList]) if (name.startsWith("gradio-container-")) container.classList.remove(name);
  };
  strip();
  new MutationObserver(strip).observe(container, { attributeFilter: ["class"] });
}

// The server may still be starting, or want a token: say so, and ask again when the person does.
async function ready(app, element) {
  while (!app.info) {
    try {
      app.info = await known(app, element);
    } catch (error) {
      await new Promise((again) => {
        element.replaceChildren(h("div", { class: "hm-halt", role: "alert" },
          h("p", {}, error.words ?? error.message),
          h("button", { class: "hm-button primary", onclick: again }, app.t("action.retry"))));
      });
    }
  }
}

// Sizes and defaults of a base are known once it is loaded.
async function known(app, element) {
  const info = await app.api.info();
  const kept = app.store.get("settings")?.base;
  const first = info.bases.find((one) => one.name === kept) ?? info.bases[0];
  if (first.size) return info;
  element.replaceChildren(h("div", { class: "hm-halt", role: "status" }, h("p", {}, app.t("start.loading", { name: first.name })), h("progress", { "aria-label": app.t("start.loading", { name: first.name }) })));
  await app.api.load(first.name);
  return app.api.info();
}

async function part(app, path, give) {
  try {
    return await give(await import(path));
  } catch (error) {
    console.error(error);
    app.toast(app.t("error.part", { name: path.replace(/^\.\/|\.js$/g, "") }), "error");
    return null;
  }
}

const pathOf = (name) => (PAGES.has(name) ? `./${name}.js` : `./tabs/${name}.js`);

async function build(app, frame) {
  // all are asked for at once; one that fails is told of when its turn comes
  for (const path of ["./settings.js", "./units.js", "./live.js", ...TABS.map(pathOf)]) import(path).catch(() => null);
  app.settings = await part(app, "./settings.js", (module) => module.create(app));
  app.units = await part(app, "./units.js", (module) => module.create(app));
  app.live = await part(app, "./live.js", (module) => module.create(app));
  for (const name of TABS) {
    const tab = await part(app, pathOf(name), (module) => module.create(app));
    if (tab) app.tabs[name] = tab;
  }
  app.gallery = app.tabs.gallery;
  frame.fill();
}
