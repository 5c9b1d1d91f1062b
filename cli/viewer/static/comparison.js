// What the file is compared with: its original, or another format of as many bytes.

import { rivalColumn, rivalNumbers, rivalWaits } from "./numbers.js";
import { messages } from "./server.js";
import { chosen, text } from "./words.js";

const inputs = () => [...document.querySelectorAll('input[name="compare"]')];

export class Comparison {
  #panes;
  #running = new AbortController();
  #lacking = new Set();
  #shown = null; // what the right pane holds

  constructor(panes) {
    this.#panes = panes;
  }

  /** Formats that this machine cannot write. */
  lacks(rivals) {
    for (const { name } of rivals) this.#lacking.add(name);
    for (const input of inputs()) {
      if (!this.#lacking.has(input.value)) continue;
      input.disabled = true;
      input.parentElement.title = "Pillow cannot write it here";
    }
  }

  /** Offer what a file can be compared with. */
  offer(file) {
    for (const input of inputs()) {
      input.disabled = (!file.original && input.value !== "") || this.#lacking.has(input.value);
      if (input.disabled && input.checked) inputs()[0].checked = true;
    }
    text("compare-hint", file.original ? "" :
      "Put the original beside the file, under the same name, to compare with it.");
  }

  cancel() {
    this.#running.abort();
    this.#shown = null;
  }

  /** Fill the right pane with what is chosen, at so many bytes. */
  async show(file, bytes) {
    const name = chosen("compare");
    const wanted = name === "original" ? name : `${name} ${bytes}`;
    if (!file.original || (this.#shown === wanted && name)) return;
    this.cancel();
    this.#running = new AbortController();
    const { signal } = this.#running;
    text("compare-hint", "");
    const title = name && inputs().find(({ value }) => value === name).nextElementSibling.textContent;
    rivalColumn(title);
    if (!name) {
      this.#panes.compare(null);
      return;
    }
    this.#shown = wanted;
    rivalWaits();
    try {
      if (name === "original") await this.#original(file, title, signal);
      else await this.#rival({ file: file.name, name, bytes }, title, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#shown = null;
      this.#panes.compare(null); // the left pane is not concerned
      rivalColumn(title);
      text("compare-hint", error.message);
    }
  }

  async #original(file, title, signal) {
    const found = await this.#panes.kept("original", async () => {
      for await (const message of messages("original", { file: file.name }, signal)) return message;
      throw new Error("the server sent no picture");
    });
    await this.#panes.compare(found.url, title, signal);
    if (!signal.aborted) rivalNumbers({});
  }

  async #rival(query, title, signal) {
    let rival = {};
    for await (const message of messages("rival", query, signal)) {
      rival = { ...rival, ...message };
      if (message.url) await this.#panes.compare(message.url, title, signal);
      if (signal.aborted) return;
      rivalNumbers(rival);
      text("compare-hint", rival.note);
    }
  }
}
