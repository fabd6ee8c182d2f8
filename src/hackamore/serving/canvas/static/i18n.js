// Words of the page. Every part has its own file of strings; a missing one is shown in English, then by its name.
const PARTS = ["", ".paint", ".units"];
export const LANGUAGES = { en: "English", ko: "한국어" };

async function read(root, language) {
  const parts = await Promise.all(PARTS.map(async (part) => {
    const answer = await fetch(new URL(`canvas/i18n/${language}${part}.json`, root));
    return answer.ok ? answer.json() : {};
  }));
  return Object.assign({}, ...parts);
}

export function preferred(store) {
  const kept = store.get("language");
  if (kept in LANGUAGES) return kept;
  return (navigator.languages ?? [navigator.language]).some((one) => one?.startsWith("ko")) ? "ko" : "en";
}

// `t("name", {count: 3})` puts values where the string says {count}.
export async function createWords(root, language) {
  const english = await read(root, "en");
  const own = language === "en" ? english : await read(root, language);
  document.documentElement.lang = language;
  const t = (name, values = {}) =>
    (own[name] ?? english[name] ?? name).replace(/\{(\w+)\}/g, (all, key) => (key in values ? String(values[key]) : all));
  t.language = language;
  t.has = (name) => name in own || name in english;
  return t;
}
