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

/** Bytes a second, in few letters. */
export function pace(rate) {
  if (rate < 1000) return `${rate} B/s`;
  if (rate < 1e6) return `${(rate / 1e3).toFixed(rate < 1e4 ? 1 : 0)} kB/s`;
  return `${(rate / 1e6).toFixed(1)} MB/s`;
}

export const perPixel = (bits) => bits.toFixed(3);

export const decibels = (psnr) => (psnr == null ? "–" : `${psnr.toFixed(2)} dB`);

export const points = (seen) => (seen == null ? "–" : seen.toFixed(1));

/** The chosen value of a group of radio buttons. */
export const chosen = (group) => document.querySelector(`input[name="${group}"]:checked`).value;
