// What the page says in passing, errors in words, and the one question it ever asks: for the token.
import { h, icon } from "./dom.js";

const STAYS = { info: 4000, good: 3000, wait: 8000, error: 12000 };

export function createToasts(t) {
  const element = h("div", { class: "hm-toasts", role: "status", "aria-live": "polite" });

  function toast(words, kind = "info") {
    const same = [...element.children].find((one) => one.dataset.words === words);
    same?.remove();
    const close = h("button", { class: "hm-button quiet square", "aria-label": t("action.close"), onclick: () => one.remove() }, icon("close"));
    const one = h("div", { class: `hm-toast ${kind}`, "data-words": words }, h("span", {}, words), close);
    element.append(one);
    setTimeout(() => one.remove(), STAYS[kind] ?? STAYS.info);
  }

  // In words beside what caused it: `beside` is an element whose text it becomes, emptied when there is no error.
  function fail(error, beside) {
    if (error?.name === "AbortError") return;
    const words = error ? (error.words ?? error.message ?? String(error)) : "";
    if (error && !error.words) console.error(error);
    if (!beside) {
      if (words) toast(words, "error");
      return;
    }
    beside.classList.toggle("hm-error", Boolean(words));
    beside.hidden = !words;
    beside.setAttribute("role", "alert");
    beside.textContent = words;
  }

  return { element, toast, fail };
}

let asked = null;

// One question at a time, whoever asks; null where it is dismissed.
export function askToken(t, wrong = false) {
  asked ??= new Promise((answer) => {
    const input = h("input", { type: "password", autocomplete: "current-password", "aria-label": t("label.token"), class: "hm-input" });
    const form = h("form", { method: "dialog", class: "hm-form" },
      h("p", {}, t("ask.token")), wrong && h("p", { class: "hm-error", role: "alert" }, t("ask.token.wrong")), input,
      h("div", { class: "hm-row end" }, h("button", { class: "hm-button primary", value: "ok" }, t("action.ok"))));
    const dialog = h("dialog", { class: "hm-dialog" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      asked = null;
      answer(dialog.returnValue === "ok" ? input.value.trim() || null : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asked;
}
