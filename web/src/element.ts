/**
 * `<cci-image src="photo.cci" alt="…" width="768" height="512">`: a picture that sharpens.
 *
 * Attributes: `src`, `alt`, `width`, `height`, `layers` (use only the first n), `scale` (1, 2, 4),
 * `loading` (`eager`, or `lazy`: only near the viewport), `weights` (folder).
 * Events: `frame` (detail: layers, scale, end), `load` (detail: see `Decoded`), `error` (detail: the
 * error). What stands inside the element is shown until the first frame, and where there is none; an
 * empty one has its `alt` for who hears the page, and shows it where the picture cannot be decoded.
 *
 * Where the reader asks for reduced data, only the first layer is fetched, at a quarter of the size.
 */

import { decode, type Decoded } from "./api";
import { paint } from "./paint";

const STYLE = `
  :host { display: inline-block; position: relative; max-width: 100%; overflow: hidden; }
  :host([hidden]) { display: none; }
  canvas { display: block; width: 100%; height: 100%; }
  span:empty { position: absolute; inset: 0; }
  [hidden] { display: none; }
`;
/** How far from the viewport a lazy picture is decoded. */
const MARGIN = "25% 0px";
/** How far away it gives its pixels back: a page of a thousand pictures would hold gigabytes. */
const KEPT = "400% 0px";

const HTMLElementOrNone = globalThis.HTMLElement ?? class {};

export class CCIImage extends HTMLElementOrNone {
  static observedAttributes = [
    "src", "alt", "width", "height", "layers", "scale", "loading", "weights",
  ];

  /** What the file came to, once it is there. */
  decoded: Omit<Decoded, "image"> | null = null;

  private canvas = document.createElement("canvas");
  private fallback = document.createElement("slot");
  private words = document.createElement("span");
  private box = new CSSStyleSheet();
  private work: AbortController | null = null;
  private finished = false;
  private near = false;
  private waiting = false;
  private observers: { disconnect(): void }[] = [];

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" }), style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style, this.box];
    this.canvas.hidden = true;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("part", "picture");
    this.words.setAttribute("role", "img");
    this.fallback.addEventListener("slotchange", () => this.describe());
    root.append(this.canvas, this.fallback, this.words);
    this.describe();
  }

  connectedCallback(): void {
    this.watch(MARGIN, ({ isIntersecting }) => {
      this.near = isIntersecting;
      this.update();
    });
    const kept = this.watch(KEPT, ({ isIntersecting, boundingClientRect: { width } }) => {
      if (isIntersecting) return;
      // One that is hidden may be shown again at once: where it is then, the observer would not say
      // of itself if that is far away.
      if (width === 0) this.onceShown(() => { kept.unobserve(this); kept.observe(this); });
      else if (this.getAttribute("loading") === "lazy") this.letGo();
    });
    this.update();
  }

  disconnectedCallback(): void {
    for (const observer of this.observers) observer.disconnect();
    this.observers = [];
    this.stop();
  }

  private onceShown(act: () => void): void {
    const observer = new ResizeObserver((entries) => {
      if (entries.at(-1)!.contentRect.width === 0) return;
      observer.disconnect();
      this.observers.splice(this.observers.indexOf(observer), 1);
      act();
    });
    observer.observe(this);
    this.observers.push(observer);
  }

  private watch(
    rootMargin: string, hear: (latest: IntersectionObserverEntry) => void,
  ): IntersectionObserver {
    const observer = new IntersectionObserver((entries) => hear(entries.at(-1)!), { rootMargin });
    observer.observe(this);
    this.observers.push(observer);
    return observer;
  }

  /** Free the picture, half decoded or whole; it is decoded anew when it comes near again. */
  private letGo(): void {
    if (this.canvas.hidden) return;
    this.stop();
    this.finished = false;
    this.show(null);
    paint(this.canvas, null);
    this.canvas.width = this.canvas.height = 0;
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after) return;
    if (name === "alt") {
      for (const shown of [this.canvas, this.words]) shown.setAttribute("aria-label", after ?? "");
      this.canvas.setAttribute("role", after === "" ? "presentation" : "img");
      this.describe();
    }
    if (name === "width" || name === "height") this.shape(this.number("width"), this.number("height"));
    if (["src", "layers", "scale", "weights"].includes(name)) {
      this.stop();
      this.finished = false;
      if (name === "src") this.show(null);
      else this.describe();
    }
    this.update();
  }

  /** Whether all that was asked for is shown. */
  get complete(): boolean {
    return this.finished;
  }

  /** Begin or give up, once all attributes that change together have changed. */
  private update(): void {
    if (this.waiting) return;
    this.waiting = true;
    queueMicrotask(() => {
      this.waiting = false;
      this.decide();
    });
  }

  private decide(): void {
    const wanted = this.isConnected && (this.near || this.getAttribute("loading") !== "lazy");
    if (!wanted) this.stop();
    else if (!this.work && !this.finished && this.getAttribute("src")) void this.load();
  }

  private stop(): void {
    this.work?.abort();
    this.work = null;
  }

  private async load(): Promise<void> {
    const work = this.work = new AbortController();
    const sparing = matchMedia("(prefers-reduced-data: reduce)").matches ||
      (navigator as { connection?: { saveData?: boolean } }).connection?.saveData;
    const mine = () => this.work === work;
    try {
      const { image, ...decoded } = await decode(this.getAttribute("src")!, {
        layers: (sparing ? 1 : this.number("layers") ?? undefined),
        scale: (sparing ? 4 : this.number("scale") ?? undefined) as 1 | 2 | 4 | undefined,
        weights: this.getAttribute("weights") ?? undefined,
        signal: work.signal,
        onHeader: ({ width, height }) => {
          if (mine()) this.fit(width, height);
        },
        onFrame: ({ image: picture, ...frame }) => {
          if (!mine()) return;
          this.show(picture as ImageBitmap);
          this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
        },
      });
      if (!mine()) return;
      this.show(image as ImageBitmap);
      this.decoded = decoded;
      this.finished = true;
      this.dispatchEvent(new CustomEvent("load", { detail: decoded }));
    } catch (error) {
      if (!mine() || (error as Error).name === "AbortError") return;
      this.finished = true; // it would fail again
      this.describe();
      this.dispatchEvent(new CustomEvent("error", { detail: error }));
    }
    if (mine()) this.work = null;
  }

  private show(image: ImageBitmap | null): void {
    if (image) paint(this.canvas, image);
    this.canvas.hidden = !image;
    this.fallback.hidden = Boolean(image);
    this.describe();
  }

  /** The alternative text where there is no picture and nothing stands inside the element: for who
   * hears the page, and to be seen once decoding has failed. */
  private describe(): void {
    const alt = this.getAttribute("alt");
    const inside = this.fallback.assignedNodes()
      .some((node) => node instanceof Element || node.textContent!.trim());
    this.words.hidden = !alt || inside || !this.canvas.hidden;
    this.words.textContent = this.finished ? alt : "";
  }

  /** Sides that no attribute gives have the ratio of the file's, or are its own. */
  private fit(width: number, height: number): void {
    const wide = this.number("width"), high = this.number("height");
    if (wide && high) return;
    if (wide) this.shape(wide, (wide * height) / width);
    else if (high) this.shape((high * width) / height, high);
    else this.shape(width, height);
  }

  /** The box of the element, unless the page's style says otherwise. */
  private shape(width: number | null, height: number | null): void {
    this.box.replaceSync(`:host {
      ${width ? `width: ${width}px;` : ""}
      ${width && height ? `aspect-ratio: ${width} / ${height};` : ""}
    }`);
  }

  private number(name: string): number | null {
    const value = Number.parseInt(this.getAttribute(name) ?? "", 10);
    return value > 0 ? value : null;
  }
}

globalThis.customElements?.define("cci-image", CCIImage);
