// From pointer events to strokes: one finger, pen or mouse draws, two fingers zoom and pan, the middle button pans.

// `hand` is {begin(point, erase), move(points), end(), cancel(), hover(point | null)}; points are {x, y, pressure} with
// x and y in shares of the picture, and pressure null where the device tells none.
export function listen(frame, view, hand) {
  const down = new Map();
  let mode = null; // "draw", "pan", "pinch", or "rest": fingers that are left over from a pinch

  const point = (event) => ({
    ...view.locate(event.clientX, event.clientY),
    pressure: event.pointerType === "pen" ? event.pressure : null,
  });

  function begun(event) {
    const pen = [...down.values()].some((one) => one.pointerType === "pen");
    if (pen && event.pointerType === "touch") return; // the palm that rests while a pen draws
    if (event.pointerType === "mouse" && event.button > 1) return;
    event.preventDefault();
    frame.classList.add("by-hand"); // a ring around what one draws on is for those who came by the keyboard
    frame.focus({ preventScroll: true });
    try {
      frame.setPointerCapture(event.pointerId);
    } catch { /* the pointer is gone already */ }
    down.set(event.pointerId, event);
    if (down.size > 1) {
      if (mode === "draw") hand.cancel();
      mode = down.size === 2 && mode !== "rest" ? "pinch" : "rest";
    } else if (event.button === 1) mode = "pan";
    else {
      mode = "draw";
      hand.begin(point(event), Boolean(event.buttons & 32)); // a pen's other end erases
    }
  }

  function moved(event) {
    const last = down.get(event.pointerId);
    if (!last) {
      hand.hover(event.pointerType === "touch" ? null : point(event));
      return;
    }
    if (mode === "draw") {
      const all = event.getCoalescedEvents?.() ?? [];
      hand.move((all.length ? all : [event]).map(point));
    } else if (mode === "pan") view.pan(event.clientX - last.clientX, event.clientY - last.clientY);
    else if (mode === "pinch") pinched(event, last);
    down.set(event.pointerId, event);
  }

  function pinched(event, last) {
    const other = [...down.values()].find((one) => one.pointerId !== event.pointerId);
    const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    const [x, y] = [(event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2];
    view.pan((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2);
    view.scale(span(event) / span(last), x, y);
  }

  function ended(event) {
    if (!down.delete(event.pointerId)) return;
    if (mode === "draw") {
      // taken back by the system, such as a palm that it found to be one
      if (event.type === "pointercancel") hand.cancel();
      else hand.end();
    }
    mode = down.size ? "rest" : null;
  }

  function turned(event) {
    if (!event.ctrlKey && !event.metaKey && view.zoom === 1) return; // the page scrolls
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) view.scale(Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
    else view.pan(-event.deltaX, -event.deltaY);
  }

  frame.addEventListener("pointerdown", begun);
  frame.addEventListener("pointermove", moved);
  frame.addEventListener("pointerup", ended);
  frame.addEventListener("pointercancel", ended);
  frame.addEventListener("lostpointercapture", ended); // the frame went out of sight: no release is heard
  frame.addEventListener("pointerleave", () => hand.hover(null));
  frame.addEventListener("wheel", turned, { passive: false });
  frame.addEventListener("contextmenu", (event) => event.preventDefault());
}
