// The models page: what the operator offers, what of it is in memory, and how much.
import { h, icon } from "./dom.js";

export function create(app) {
  const { t, api } = app;
  let turns = 0;
  const memory = h("div", { class: "hm-memory" });
  const lists = h("div", { class: "hm-models" });
  const trouble = h("p", { hidden: true });
  const again = h("button", { class: "hm-button quiet square", type: "button", "aria-label": t("models.refresh"), title: t("models.refresh"), onclick: refresh }, icon("again"));
  const element = h("section", { class: "hm-models-page" },
    h("div", { class: "hm-page-bar" }, h("h1", {}, t("models.title")), again), trouble, memory, lists);

  // Until the answer is drawn, the old list cannot be pressed: a "load" could turn to "unload" under the finger.
  async function refresh() {
    const turn = ++turns;
    lists.inert = true;
    app.fail(null, trouble);
    try {
      const [models, info] = await Promise.all([api.models(), api.info()]);
      if (turn !== turns) return;
      drawMemory(info);
      lists.replaceChildren(...["base", "control"].map((type) => section(type, models.filter((one) => one.type === type))));
    } catch (error) {
      if (turn === turns) app.fail(error, trouble);
    }
    if (turn === turns) lists.inert = false;
  }

  function drawMemory(info) {
    const { used_mib: used = 0, limit_mib: limit } = info.memory ?? {};
    const words = t(limit ? "models.memory.of" : "models.memory", { used: Math.round(used), limit });
    const meter = limit ? [h("meter", { "aria-label": words, min: 0, max: limit, high: limit * 0.9, value: used })] : [];
    memory.replaceChildren(h("p", {}, words), ...meter,
      h("p", { class: "hm-quiet" }, [info.devices?.length && t("models.device", { device: info.devices.join(", ") }), t("models.version", { version: info.version })].filter(Boolean).join(" · ")));
  }

  function section(type, models) {
    if (!models.length) return "";
    return h("section", { class: "hm-card" }, h("h2", {}, t(type === "base" ? "models.bases" : "models.controls")), h("ul", { class: "hm-list" }, models.map(row)));
  }

  function row(model) {
    const beside = h("p", { hidden: true });
    const button = h("button", { class: "hm-button", type: "button", onclick: () => change(model, button, beside) }, t(model.loaded ? "models.unload" : "models.load"));
    const told = [model.kind, model.base && model.type === "control" && t("models.for", { base: model.base }), model.mib && t("models.mib", { mib: Math.round(model.mib) })];
    return h("li", { "data-model": model.id },
      h("div", { class: "hm-model" }, h("strong", {}, model.id), h("span", { class: "hm-quiet" }, told.filter(Boolean).join(" · ")), beside),
      h("span", { class: model.loaded ? "hm-pill good" : "hm-pill idle" }, t(model.loaded ? "models.loaded" : "models.idle")), button);
  }

  async function change(model, button, beside) {
    button.disabled = true;
    button.textContent = t("models.working");
    try {
      await (model.loaded ? api.unload(model.id) : api.load(model.id));
      await refresh();
    } catch (error) {
      button.disabled = false;
      button.textContent = t(model.loaded ? "models.unload" : "models.load");
      app.fail(error, beside);
    }
  }

  return { name: "models", element, shown: refresh };
}
