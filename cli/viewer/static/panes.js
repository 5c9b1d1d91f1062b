// The two pictures over each other, and the divider between them.

export class Panes {
  #picture;
  #kept = new Map();

  constructor(picture) {
    this.#picture = picture;
    const divider = this.#find("divider");
    divider.oninput = () => {
      picture.style.setProperty("--split", `${divider.value}%`);
      divider.setAttribute("aria-valuetext", `${divider.value}% of the left picture`);
    };
  }

  #find(id) {
    return this.#picture.querySelector(`#${id}`);
  }

  size(width, height) {
    this.#picture.style.setProperty("--w", width);
    this.#picture.style.setProperty("--h", height);
    for (const { url } of this.#kept.values()) URL.revokeObjectURL(url);
    this.#kept.clear();
  }

  /** Empty both panes. */
  clear() {
    this.#set("shown", null);
    this.compare(null);
  }

  /** Replace the left picture once the new one is decoded, so that nothing flickers. */
  async show(url) {
    await this.#ready(url);
    this.#set("shown", url);
  }

  /** Replace the right picture; null: none. */
  async compare(url, name, signal) {
    if (url) await this.#ready(url);
    if (signal?.aborted) return;
    this.#set("other", url);
    this.#picture.classList.toggle("compared", Boolean(url));
    for (const id of ["other", "divider", "line", "right-name"]) this.#find(id).hidden = !url;
    this.#find("right-name").textContent = name ?? "";
    this.#find("other").alt = name ?? "";
  }

  /** What `make` gives, made once per file. */
  async kept(key, make) {
    if (!this.#kept.has(key)) this.#kept.set(key, await make());
    return this.#kept.get(key);
  }

  async #ready(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
  }

  #set(id, url) {
    const image = this.#find(id);
    const before = image.getAttribute("src");
    if (url) image.src = url;
    else image.removeAttribute("src");
    const stays = [...this.#kept.values()].some((kept) => kept.url === before);
    if (before && before !== url && !stays) URL.revokeObjectURL(before);
  }
}
