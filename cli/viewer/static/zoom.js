// How large the pictures are shown, and which part of them: both panes together.
// Drags of the divider end up here too, since the same finger moves it or the picture.

import { $ } from "./words.js";

const STEPS = [1, 2, 4, 8, 16, 32]; // screen pixels per pixel of the picture
const NEAR = 26; // of the divider, in CSS pixels: a drag from here moves it

export class Zoom {
  #view = $("picture");
  #size = [3, 2];
  #scale = null; // null: as large as fits
  #middle = [1.5, 1]; // pixel of the picture in the middle of the frame
  #pointers = new Map();
  #drag = null;

  constructor() {
    const view = this.#view;
    new ResizeObserver(() => this.#apply()).observe(view);
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      view.addEventListener(end, (event) => this.#up(event));
    }
    view.addEventListener("keydown", (event) => this.#key(event));
    $("zoom-in").onclick = () => this.step(1);
    $("zoom-out").onclick = () => this.step(-1);
    $("zoom").onchange = () => this.set($("zoom").value === "fit" ? null : +$("zoom").value);
    this.#apply();
  }

  /** Another picture: as large as fits again, unless it has the size of the last one. */
  size(width, height) {
    if (width === this.#size[0] && height === this.#size[1]) return;
    this.#size = [width, height];
    this.#view.style.setProperty("--w", width);
    this.#view.style.setProperty("--h", height);
    this.set(null);
  }

  /** Screen pixels per pixel; null: as many as fit. `at`: what stays where it is, in the frame. */
  set(scale, at = null) {
    const { width, height } = this.#frame();
    const [x, y] = at ?? [width / 2, height / 2];
    const before = this.#css();
    const pixel = [this.#middle[0] + (x - width / 2) / before, this.#middle[1] + (y - height / 2) / before];
    const least = Math.min(1, this.#fit());
    this.#scale = scale === null ? null : Math.max(least, Math.min(STEPS.at(-1), scale));
    if (least < 1 && this.#scale === least) this.#scale = null;
    const css = this.#css();
    this.#middle = [pixel[0] - (x - width / 2) / css, pixel[1] - (y - height / 2) / css];
    this.#apply();
  }

  /** To the next power of two above or below. */
  step(direction) {
    const now = this.#scale ?? this.#fit();
    const levels = [this.#fit(), ...STEPS].sort((a, b) => a - b);
    const next = direction > 0
      ? levels.find((level) => level > now * 1.01)
      : levels.findLast((level) => level < now / 1.01);
    if (next) this.set(next === this.#fit() ? null : next);
  }

  #frame() {
    return this.#view.getBoundingClientRect();
  }

  /** Screen pixels per pixel at which all of the picture is seen. Enlarged, by whole numbers where
   *  uneven pixels would be noticed. */
  #fit() {
    const { width, height } = this.#frame();
    const room = devicePixelRatio * Math.min(width / this.#size[0], height / this.#size[1]);
    if (!room) return 1;
    return Math.min(16, room > 1 && devicePixelRatio < 1.5 ? Math.floor(room) : room);
  }

  #css() {
    return (this.#scale ?? this.#fit()) / devicePixelRatio;
  }

  #apply() {
    const view = this.#view, css = this.#css(), frame = this.#frame();
    const room = [frame.width, frame.height];
    const wide = this.#size.map((length) => length * css);
    const start = wide.map((length, i) => {
      const half = room[i] / 2;
      const middle = length <= room[i] + 1 ? length / 2
        : Math.max(half, Math.min(length - half, this.#middle[i] * css));
      this.#middle[i] = middle / css;
      // on whole pixels of the screen, else 1:1 would be blurred
      return Math.round((half - middle) * devicePixelRatio) / devicePixelRatio;
    });
    ["--x", "--y"].forEach((name, i) => view.style.setProperty(name, `${start[i]}px`));
    ["--wide", "--high"].forEach((name, i) => view.style.setProperty(name, `${wide[i]}px`));
    view.classList.toggle("movable", wide.some((length, i) => length > room[i] + 1));
    const scale = css * devicePixelRatio;
    view.classList.toggle("blocky", scale > 1 && (this.#scale !== null || Number.isInteger(scale)));
    this.#tell(scale);
  }

  /** The list of zooms, with the one that is set, whatever it is. */
  #tell(scale) {
    const percent = `${Math.round(100 * scale)}%`;
    const options = [["fit", `Fit (${percent})`], ...STEPS.map((s) => [s, s === 1 ? "1:1" : `${s}×`])];
    if (this.#scale === null) {
      // nothing to add
    } else if (!STEPS.includes(this.#scale)) options.push([this.#scale, percent]);
    if (this.#scale !== null) options[0][1] = "Fit";
    $("zoom").replaceChildren(...options.map(([value, name]) => new Option(name, value)));
    $("zoom").value = this.#scale ?? "fit";
  }

  #at(event) {
    const { left, top } = this.#frame();
    return [event.clientX - left, event.clientY - top];
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const pinched = event.ctrlKey ? 6 : 1; // so browsers report two fingers on a touch pad
    const factor = Math.exp(-event.deltaY * lines * pinched * 0.002);
    this.set((this.#scale ?? this.#fit()) * factor, this.#at(event));
  }

  #down(event) {
    if (event.button) return;
    const [x, y] = this.#at(event);
    this.#pointers.set(event.pointerId, [x, y]);
    this.#view.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 2) {
      this.#drag = { kind: "pinch", apart: this.#apart(), scale: this.#scale ?? this.#fit() };
      return;
    }
    const compared = this.#view.classList.contains("compared");
    const line = this.#frame().width * $("divider").value / 100;
    const movable = this.#view.classList.contains("movable");
    if (compared && (!movable || Math.abs(x - line) < NEAR)) this.#drag = { kind: "divide" };
    else this.#drag = movable ? { kind: "move" } : null;
    if (this.#drag?.kind === "divide") this.#divide(x);
    this.#view.classList.toggle("moving", this.#drag?.kind === "move");
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const [x, y] = this.#at(event);
    this.#pointers.set(event.pointerId, [x, y]);
    if (this.#drag?.kind === "divide") this.#divide(x);
    if (this.#drag?.kind === "move") this.#shift(x - before[0], y - before[1]);
    if (this.#drag?.kind === "pinch" && this.#pointers.size === 2) {
      const [[ax, ay], [bx, by]] = this.#pointers.values();
      this.#shift((x - before[0]) / 2, (y - before[1]) / 2);
      this.set(this.#drag.scale * this.#apart() / this.#drag.apart, [(ax + bx) / 2, (ay + by) / 2]);
    }
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
    this.#view.classList.remove("moving");
    this.#drag = null;
  }

  #apart() {
    const [[ax, ay], [bx, by]] = this.#pointers.values();
    return Math.max(1, Math.hypot(ax - bx, ay - by));
  }

  #shift(x, y) {
    const css = this.#css();
    this.#middle = [this.#middle[0] - x / css, this.#middle[1] - y / css];
    this.#apply();
  }

  #divide(x) {
    $("divider").value = 100 * x / this.#frame().width;
    $("divider").dispatchEvent(new Event("input"));
  }

  #key(event) {
    if (event.target !== this.#view || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way || !this.#view.classList.contains("movable")) return;
    event.preventDefault();
    this.#shift(64 * way[0], 64 * way[1]);
  }
}
