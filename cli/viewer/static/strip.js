// The files as small pictures, made when they come into view, one at a time.

import { $ } from "./words.js";
import { blob } from "./server.js";

export class Strip {
  #strip = $("strip");
  #choose;
  #idle;
  #waiting = [];
  #loading = false;
  #seen = new IntersectionObserver((entries) => this.#look(entries), { root: $("strip"), rootMargin: "0px 200px" });

  /** @param choose called with a file's name; @param idle whether nothing more urgent is made. */
  constructor(choose, idle) {
    this.#choose = choose;
    this.#idle = idle;
    this.#strip.onkeydown = (event) => {
      const way = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
      const next = way && document.activeElement[way];
      if (!next) return;
      event.preventDefault();
      next.focus();
      choose(next.dataset.file);
    };
  }

  /** Add a file, or have its title and picture made anew. */
  add(name, title) {
    let button = this.#button(name);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.className = "thumb";
      button.dataset.file = name;
      button.tabIndex = -1;
      button.onclick = () => this.#choose(name);
      button.append(Object.assign(new Image(), { alt: "", draggable: false }), document.createElement("span"));
      this.#strip.append(button);
    }
    button.title = title;
    button.lastChild.textContent = title.split("/").at(-1);
    this.#seen.unobserve(button);
    this.#seen.observe(button);
    this.#strip.hidden = this.#strip.children.length < 2;
  }

  remove(name) {
    const button = this.#button(name);
    if (!button) return;
    this.#seen.unobserve(button);
    this.#waiting = this.#waiting.filter((one) => one !== button);
    const { src } = button.querySelector("img");
    if (src) URL.revokeObjectURL(src);
    button.remove();
    this.#strip.hidden = this.#strip.children.length < 2;
  }

  /** Mark the file that is shown. */
  mark(name) {
    for (const button of this.#strip.children) {
      const current = button.dataset.file === name;
      button.setAttribute("aria-current", current);
      button.tabIndex = current ? 0 : -1;
      if (current) {
        const middle = button.offsetLeft + button.offsetWidth / 2;
        this.#strip.scrollLeft = middle - this.#strip.clientWidth / 2;
      }
    }
  }

  #button(name) {
    return [...this.#strip.children].find((button) => button.dataset.file === name);
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting || this.#waiting.includes(target)) continue;
      this.#seen.unobserve(target);
      this.#waiting.push(target);
    }
    this.#load();
  }

  async #load() {
    if (this.#loading) return;
    this.#loading = true;
    while (this.#waiting.length) {
      while (!this.#idle()) await new Promise((done) => { setTimeout(done, 200); });
      const button = this.#waiting.shift();
      if (!button) break; // removed meanwhile
      const image = button.querySelector("img");
      try {
        const made = await blob("thumbnail", { file: button.dataset.file });
        if (image.src) URL.revokeObjectURL(image.src);
        if (made.size) image.src = URL.createObjectURL(made);
        button.classList.toggle("none", !made.size);
      } catch {
        button.classList.add("none"); // opening it says what is wrong
      }
    }
    this.#loading = false;
  }
}
