// The encoder's settings: for pictures that are dropped, and to code what is shown anew.

import { $, text } from "./words.js";
import { json } from "./server.js";

const PAUSE = 400; // milliseconds without a change before anything is coded
const AIMS = { // least, most and first value of what files may aim at
  quality: [0, 100, 50],
  target_ssimulacra2: [0, 95, 75],
  target_psnr: [20, 45, 34],
  target_bytes: [1, 300, 30],
};

export class Coding {
  #models = [];
  #timer = null;
  #running = new AbortController();
  #page;

  /**
   * @param page {file(), begun(), recoded(file, seconds), failed(error)}: what is shown, and what is
   *   to happen.
   */
  constructor(page) {
    this.#page = page;
    $("aim").onchange = () => {
      const [min, max, value] = AIMS[$("aim").value];
      Object.assign($("quality"), { min, max, value });
      text("quality-value", $("quality").value);
      this.#changed();
    };
    $("quality").oninput = () => {
      text("quality-value", $("quality").value);
      this.#changed();
    };
    $("model").onchange = () => {
      this.#tunings();
      this.#changed();
    };
    for (const id of ["tune", "stored"]) $(id).onchange = () => this.#changed();
  }

  /** The installed models, as the server lists them. */
  offer(models) {
    this.#models = models;
    $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    this.#tunings();
  }

  /** What the settings ask of the server. */
  query() {
    const much = +$("quality").value, aim = $("aim").value;
    const query = { tune: $("tune").value, model: $("model").value };
    if ($("stored").value) query.layers = $("stored").value;
    query[aim] = aim === "target_bytes" ? 1000 * much : much;
    return query;
  }

  /** Say what a change would do. */
  explain(file) {
    const why = file && !file.original ? " What is shown has no original to code anew." : "";
    text("coding-hint", file?.original ? "A change codes this picture anew."
      : `For pictures that you drop here.${why}`);
  }

  /** Code nothing anew after all. */
  cancel() {
    clearTimeout(this.#timer);
    this.#running.abort();
  }

  #tunings() {
    const model = this.#models.find(({ name }) => name === $("model").value);
    for (const option of $("tune").options) {
      option.disabled = Boolean(model) && !model.tunings.includes(option.value);
      if (option.disabled && option.selected) $("tune").value = model.tunings[0];
    }
  }

  /** The last of several changes counts; what was begun for one before it is given up. */
  #changed() {
    this.cancel();
    if (!this.#page.file()?.original) return;
    this.#timer = setTimeout(() => this.#recode(), PAUSE);
  }

  async #recode() {
    this.#running = new AbortController();
    const { signal } = this.#running, started = performance.now();
    this.#page.begun();
    try {
      const query = { file: this.#page.file().name, ...this.query() };
      const file = await json("recode", query, { method: "POST", signal });
      this.#page.recoded(file, (performance.now() - started) / 1000);
    } catch (error) {
      if (!signal.aborted) this.#page.failed(error);
    }
  }
}
