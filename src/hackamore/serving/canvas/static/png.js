/* PNG files of index and grey pictures, written here and not by a canvas: browsers that guard against fingerprints give
   a canvas's pixels back with noise, and a segmentation must be exact. */

const TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  let rest = number;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

function checksum(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) rest = TABLE[(rest ^ byte) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}

function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set([...kind].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, checksum(bytes.subarray(4, content.length + 8)));
  return bytes;
}

async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A PNG file as a Blob. With `palette`, an array of [r, g, b], bytes are indices of it; without, they are grey. */
export async function encoded({ width, height, data }, palette = null) {
  const head = new Uint8Array(13);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  head.set([8, palette ? 3 : 0], 8);
  const lines = new Uint8Array((width + 1) * height); // each line begins with its filter, 0: none
  for (let row = 0; row < height; row++) {
    lines.set(data.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  }
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", head)];
  if (palette) parts.push(chunk("PLTE", Uint8Array.from(palette.flat())));
  parts.push(chunk("IDAT", await deflated(lines)), chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}

/** A Blob's bytes in base64, without a prefix. */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
