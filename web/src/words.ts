/** Numbers in words, and elements that hold them. */

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Write into an element; only what changed, so that screen readers repeat nothing. */
export function text(id: string, words: string): void {
  const one = element(id);
  if (one.textContent !== words) one.textContent = words;
}

export function bytesInWords(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(2)} MB`;
}
