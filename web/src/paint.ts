/** Pictures on canvases, without copies. */

/** Show a bitmap, which is used up; null: nothing. The canvas takes its size. */
export function paint(canvas: HTMLCanvasElement, image: ImageBitmap | null): void {
  if (image) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("bitmaprenderer")!.transferFromImageBitmap(image);
}
