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
  #tune = $("tune").value; // as chosen last, where a model leaves a choice

  /**
   * @param page {file(), begun(), recoded(file, seconds), failed(error)}: what is shown, and what is
   *   to happen.
   */
  constructor(page) {
    this.#page = page;
    $("aim").onchange = () => { // begins with what is shown, so that nothing is coded anew yet
      const [min, max, value] = AIMS[$("aim").value];
      const shown = Math.round(this.#shown($("aim").value));
      const start = Number.isFinite(shown) ? Math.min(max, Math.max(min, shown)) : value;
      Object.assign($("quality"), { min, max, value: start });
      text("quality-value", $("quality").value);
    };
    $("quality").oninput = () => {
      text("quality-value", $("quality").value);
      this.#changed();
    };
    $("model").onchange = () => {
      this.#tunings();
      this.#changed();
    };
    $("tune").onchange = () => {
      this.#tune = $("tune").value;
      this.#changed();
    };
    $("stored").onchange = () => this.#changed();
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

  /** What is shown, in the unit of an aim; NaN: not known. */
  #shown(aim) {
    const file = this.#page.file();
    if (aim === "quality") return file?.quality ?? NaN;
    if (aim === "target_bytes") return file ? file.bytes / 1000 : NaN;
    return parseFloat($(aim === "target_psnr" ? "n-psnr" : "n-seen").textContent);
  }

  #tunings() {
    const model = this.#models.find(({ name }) => name === $("model").value);
    const offered = model?.tunings ?? [...$("tune").options].map(({ value }) => value);
    for (const option of $("tune").options) option.disabled = !offered.includes(option.value);
    $("tune").value = offered.includes(this.#tune) ? this.#tune : offered[0];
    $("tune").disabled = offered.length < 2;
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
