// A picture from the camera: seen in a dialog, taken with one press.

import { h } from "../dom.js";
import { drawn } from "./files.js";

// The picture as readPhoto gives it, or null where nobody took one. Throws an Error with a `reason` without a camera.
export async function takePhoto(t) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    throw Object.assign(new Error(error.name), { reason: error.name === "NotAllowedError" ? "refused" : "camera", values: {} });
  }
  const video = h("video", { autoplay: true, playsinline: true, muted: true, class: "ph-video" });
  video.muted = true;
  video.srcObject = stream;
  const shoot = h("button", { class: "hm-button primary", type: "button", "data-act": "shoot", disabled: true, onclick: () => dialog.close("taken") }, t("photo.shoot"));
  video.addEventListener("loadeddata", () => (shoot.disabled = false));
  const dialog = h("dialog", { class: "hm-dialog ph-camera", "aria-label": t("photo.camera") }, video,
    h("div", { class: "hm-row end" }, h("button", { class: "hm-button quiet", type: "button", onclick: () => dialog.close() }, t("action.cancel")), shoot));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      const taken = dialog.returnValue === "taken" ? { ...drawn(video), name: "" } : null;
      for (const track of stream.getTracks()) track.stop();
      dialog.remove();
      answer(taken);
    });
  });
}
