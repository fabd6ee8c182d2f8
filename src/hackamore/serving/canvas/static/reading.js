// A picture's file as pixels, and pixels as indices of a palette.

// RGBA bytes of a picture (base64 with or without a prefix, or an address) stretched to a size by its nearest pixels.
export async function pixelsOf(picture, width, height) {
  const image = new Image();
  image.src = /^(data|blob|https?):/.test(picture) ? picture : `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

// Each pixel as the nearest colour of a palette from index `first` on, and which share was `close` to one.
export function nearest(pixels, palette, first = 0) {
  const data = new Uint8Array(pixels.length / 4);
  const known = new Map();
  let close = 0;
  for (let at = 0; at < data.length; at++) {
    const [r, g, b] = pixels.subarray(4 * at, 4 * at + 3);
    const code = (r << 16) | (g << 8) | b;
    if (!known.has(code)) known.set(code, found(palette, first, [r, g, b]));
    const [index, apart] = known.get(code);
    data[at] = index;
    close += apart < 100 ? 1 : 0;
  }
  return { data, close: close / data.length };
}

function found(palette, first, colour) {
  let best = [first, Infinity];
  for (let index = first; index < palette.length; index++) {
    const apart = palette[index].reduce((sum, value, channel) => sum + (value - colour[channel]) ** 2, 0);
    if (apart < best[1]) best = [index, apart];
  }
  return best;
}
