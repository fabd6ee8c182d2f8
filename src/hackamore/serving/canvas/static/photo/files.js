// A picture of the person's own: read, turned upright, made no larger than is useful, as a data address.

export const LARGEST_FILE = 40_000_000;
const LONGEST = 1536; // pixels of the longer side; hints are made at the picture's size, which is smaller
const LEAST = 8;

// {image, width, height, name} of a File or Blob. Throws an Error whose `reason` names a string of words.
export async function readPhoto(file, longest = LONGEST) {
  if (!file.type.startsWith("image/") || file.type === "image/svg+xml") throw wrong("kind", { name: file.name ?? "", type: file.type || "?" });
  if (file.size > LARGEST_FILE) throw wrong("large", { mib: Math.round(file.size / 2 ** 20) });
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw wrong("broken", { name: file.name ?? "" });
  }
  const read = Math.min(bitmap.width, bitmap.height) < LEAST ? null : drawn(bitmap, longest);
  bitmap.close();
  if (!read || Math.min(read.width, read.height) < LEAST) throw wrong("small");
  return { ...read, name: file.name ?? "" };
}

// The picture that a <video> or a bitmap shows now.
export function drawn(source, longest = LONGEST) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const factor = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor))];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // what is clear in a PNG is white, as the server has it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const large = canvas.width * canvas.height > 512 * 512;
  const image = large ? canvas.toDataURL("image/jpeg", 0.94) : canvas.toDataURL("image/png");
  return { image, width: canvas.width, height: canvas.height };
}

function wrong(reason, values = {}) {
  return Object.assign(new Error(reason), { reason, values });
}
