// The bar of what has arrived: a part for each layer, as wide as its share of the bytes.

import { $, bytes, text } from "./words.js";

const bar = $("arrival");

/** No file. */
export function clear() {
  bar.replaceChildren();
  bar.setAttribute("aria-valuenow", 0);
  bar.removeAttribute("aria-valuetext");
  text("bytes", "");
}

/** The parts of a file. */
export function layers(file) {
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

/** So many leading bytes of it are there. */
export function received(file, count) {
  let start = 0;
  file.layers.forEach((layer, i) => {
    const share = Math.max(0, Math.min(1, (count - start) / (layer.end - start)));
    const part = bar.children[i];
    part.style.setProperty("--share", `${100 * share}%`);
    part.classList.toggle("on", share === 1);
    start = layer.end;
  });
  bar.setAttribute("aria-valuenow", Math.round(100 * count / file.bytes));
  const words = `${bytes(count)} of ${bytes(file.bytes)}`;
  bar.setAttribute("aria-valuetext", words);
  text("bytes", words);
}
