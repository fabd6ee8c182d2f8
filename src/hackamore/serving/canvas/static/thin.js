// Thinning after Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (1984): strokes become lines
// one pixel wide, which is what a control for edges expects.

// The lines of a picture in which every value but 0 is ink; lines that are thin already stay as they are.
export function thinned({ width, height, data }) {
  const ink = Uint8Array.from(data, (value) => (value ? 1 : 0));
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : ink[y * width + x]);
  for (let gone = 1; gone; ) {
    gone = 0;
    for (const second of [false, true]) {
      const away = [];
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) if (ink[y * width + x] && goes(at, x, y, second)) away.push(y * width + x);
      }
      for (const place of away) ink[place] = 0;
      gone += away.length;
    }
  }
  return { width, height, data: ink };
}

function goes(at, x, y, second) {
  // the eight around, clockwise from above
  const round = [at(x, y - 1), at(x + 1, y - 1), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1), at(x - 1, y + 1), at(x - 1, y), at(x - 1, y - 1)];
  const inked = round.reduce((sum, one) => sum + one, 0);
  if (inked < 2 || inked > 6) return false;
  let rises = 0;
  for (let side = 0; side < 8; side++) rises += !round[side] && round[(side + 1) % 8] ? 1 : 0;
  if (rises !== 1) return false;
  const [up, , right, , down, , left] = round;
  return second ? !(up && right && left) && !(up && down && left) : !(up && right && down) && !(right && down && left);
}
