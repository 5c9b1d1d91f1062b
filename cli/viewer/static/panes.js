// The two pictures over each other, and what of each is seen.

import { $ } from "./words.js";

export class Panes {
  #picture = $("picture");
  #width = 0;
  #kept = new Map();

  constructor() {
    const divider = $("divider");
    divider.oninput = () => {
      this.#picture.style.setProperty("--split", `${divider.value}%`);
      divider.setAttribute("aria-valuetext", `${divider.value}% of the left picture`);
    };
  }

  /** Another picture's size: nothing kept of the last one is of use any more. */
  size(width) {
    this.#width = width;
    for (const { url } of this.#kept.values()) URL.revokeObjectURL(url);
    this.#kept.clear();
  }

  /** Empty both panes. */
  clear() {
    this.#set("shown", null);
    $("shown").alt = "";
    $("left-name").textContent = "";
    $("save").removeAttribute("href");
    this.compare(null);
  }

  /** Replace the left picture once the new one is decoded, so that nothing flickers. */
  async show(url, signal) {
    await ready(url);
    if (signal?.aborted) return;
    this.#set("shown", url);
    $("save").href = url;
  }

  /** Replace the right picture; null: none. */
  async compare(url, name, signal) {
    if (url) await ready(url);
    if (signal?.aborted) return;
    this.#set("other", url);
    this.#picture.classList.toggle("compared", Boolean(url));
    for (const id of ["other", "divider", "line", "right-name"]) $(id).hidden = !url;
    $("right-name").textContent = $("other").alt = name ?? "";
    $("flick").disabled = !url;
    if (!url) this.flick(false);
  }

  /** Let the right picture fill the frame, or no longer. */
  flick(on) {
    this.#picture.classList.toggle("flicked", on && !$("flick").disabled);
  }

  /** What `make` gives, made once per picture. */
  async kept(key, make) {
    if (!this.#kept.has(key)) this.#kept.set(key, await make());
    return this.#kept.get(key);
  }

  #set(id, url) {
    const image = $(id);
    const before = image.getAttribute("src");
    if (url) image.src = url;
    else image.removeAttribute("src");
    // A small frame stands for the whole picture: its own pixels are not what is to be seen.
    image.classList.toggle("small", Boolean(url) && sizes.get(url) !== this.#width);
    const stays = [...this.#kept.values()].some((kept) => kept.url === before);
    if (before && before !== url && !stays) {
      URL.revokeObjectURL(before);
      sizes.delete(before);
    }
  }
}

const sizes = new Map(); // address of a picture → its width

async function ready(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  sizes.set(url, image.naturalWidth);
}
