// The skeleton as /v1/info tells it: {names, colours, limbs: [[from, to]], limbColours}; colours are [r, g, b].
export function bonesOf({ pose }) {
  return {
    names: pose.joints.map((one) => one.name),
    colours: pose.joints.map((one) => one.colour),
    limbs: pose.limbs.map((one) => one.joints),
    limbColours: pose.limbs.map((one) => one.colour),
  };
}
