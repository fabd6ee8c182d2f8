// What the keys of a raster editor do.

export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = { b: "brush", l: "line", r: "rectangle", o: "ellipse", f: "fill", e: "eraser" };
const OUTLINES = { r: "box", o: "ring" };

// What a key event asks of the editor, as a function, or null.
export function shortcut(raster, event) {
  const letter = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (letter === "z") return () => (event.shiftKey ? raster.redo() : raster.undo());
    return letter === "y" ? () => raster.redo() : null;
  }
  if (event.altKey) return null;
  const named = [TOOLS[letter], OUTLINES[letter]].find((name) => raster.tools.includes(name));
  if (named) return () => (raster.tool = named);
  const acts = {
    "[": () => (raster.size = Math.min(raster.size - 1, raster.size / 1.25)),
    "]": () => (raster.size = Math.max(raster.size + 1, raster.size * 1.25)),
    "+": () => raster.view.scale(1.5),
    "=": () => raster.view.scale(1.5),
    "-": () => raster.view.scale(1 / 1.5),
    0: () => raster.view.reset(),
  };
  return acts[letter] ?? null;
}
