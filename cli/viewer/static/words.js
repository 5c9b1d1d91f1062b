// Numbers and layers in words.

export const $ = (id) => document.getElementById(id);

/** Write into an element; only what changed, so that screen readers repeat nothing. */
export function text(id, words) {
  const element = $(id);
  if (element.textContent !== words) element.textContent = words;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(1)} kB`;
  return `${(count / 1e6).toFixed(2)} MB`;
}

export const perPixel = (bits) => bits.toFixed(3);

export const decibels = (psnr) => (psnr == null ? "–" : `${psnr.toFixed(2)} dB`);

export const points = (seen) => (seen == null ? "–" : seen.toFixed(1));

/** One bar per layer, as wide as its share of the bytes. */
export function arrivalBar(bar, file) {
  bar.replaceChildren(...file.layers.map((layer) => {
    const part = document.createElement("div");
    part.className = "layer";
    part.style.flex = `${layer.bytes} 1 0`;
    part.style.setProperty("--tone", `var(--${layer.name})`);
    const name = document.createElement("b");
    name.textContent = layer.name;
    part.append(name, ` ${bytes(layer.bytes)}`);
    return part;
  }));
}

/** The chosen value of a group of radio buttons. */
export const chosen = (group) => document.querySelector(`input[name="${group}"]:checked`).value;
