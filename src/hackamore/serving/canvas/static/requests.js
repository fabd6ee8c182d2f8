// From the page to a Request and back again.
const PREVIEW_STEPS = 4;
const PREVIEW_GUIDANCE = 2;

export function createRequests(app) {
  const named = (name) => (app.info.bases ?? []).find((one) => one.name === name);
  const base = () => named(app.settings?.base()) ?? app.info.bases[0];

  // What the shown tab's hint and the stack ask of the controls; a tab without units of its own gives its hint alone.
  async function controls(tab) {
    if (app.units) return app.units.all(tab);
    const own = tab.empty?.() ? null : await tab.hint?.();
    return own ? [own] : [];
  }

  // kind: "preview" is a fast look (few steps, little guidance), "live" the full picture of a canvas, "full" for the gallery.
  async function request(tab, kind = "full") {
    const made = { ...(await app.settings.request()), base: base().name, controls: await controls(tab) };
    if (kind === "full") return { ...made, priority: "normal", verify: true, preview: 2 };
    const live = { ...made, num: 1, priority: "live", live: `${app.word}-${tab.name}`, verify: true };
    return kind === "live" ? live : { ...live, steps: Math.min(made.steps, PREVIEW_STEPS), guidance: PREVIEW_GUIDANCE, fast: made.fast ?? 1 };
  }

  async function submit(tab, kind = "full", options = {}) {
    return app.api.submit(await request(tab, kind), options);
  }

  // Settings, units and painting as a request had them; what the page cannot show any more is told.
  async function restore(asked) {
    await app.settings.restore(asked);
    await app.units?.restoreRequest?.(asked);
    app.emit("again", asked);
  }

  // The hashes of the weights that a picture of these units is made of, as text; null where one of them is not loaded.
  async function weights(base, units) {
    const models = await app.api.models().catch(() => []);
    const hash = (name, of) => models.find((one) => one.id === name && (one.base ?? null) === of)?.sha256;
    const all = [hash(base, null), ...units.map((unit) => hash(unit.control, base))];
    return all.every(Boolean) ? JSON.stringify(all) : null;
  }

  // One word a page: two that are open side by side, one a copy of the other, do not replace each other's pictures.
  const word = crypto.getRandomValues(new Uint32Array(2)).join("");
  return { base, request, submit, restore, weights, word };
}
