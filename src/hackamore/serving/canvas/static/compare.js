// Two pictures of the same size, one over the other, with a line between them that a finger or the arrow keys move.
import { h, icon } from "./dom.js";

export function createCompare(app, left, right) {
  const { t } = app;
  const under = h("img", { src: right.url, alt: right.words, draggable: "false" });
  const over = h("img", { src: left.url, alt: left.words, class: "over", draggable: "false" });
  const line = h("div", { class: "hm-compare-line" }, h("span", {}));
  const slider = h("input", { type: "range", min: 0, max: 100, step: 1, value: 50, class: "hm-compare-slider", "aria-label": t("compare.slider") });
  const stage = h("div", { class: "hm-compare-stage" }, under, over, line,
    h("span", { class: "hm-tag left" }, left.words), h("span", { class: "hm-tag right" }, right.words), slider);

  over.addEventListener("load", () => (stage.style.aspectRatio = `${over.naturalWidth} / ${over.naturalHeight}`));

  function draw() {
    stage.style.setProperty("--split", `${slider.value}%`);
  }

  function follow(event) {
    const { left: from, width } = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - from)) / width;
    draw();
  }

  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    slider.focus();
    follow(event);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && follow(event));
  slider.addEventListener("input", draw);
  draw();
  return stage;
}

export function openCompare(app, left, right) {
  const close = h("button", { class: "hm-button quiet square", "aria-label": app.t("compare.close"), onclick: () => dialog.close() }, icon("close"));
  const dialog = h("dialog", { class: "hm-dialog hm-compare", "aria-label": app.t("compare.title") },
    h("div", { class: "hm-dialog-bar" }, h("h2", {}, app.t("compare.title")), close), createCompare(app, left, right));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
