/**
 * Pictures in .cci files, in the browser:
 *
 *     import { decode } from "./cci.js";
 *     const { image } = await decode("photo.cci", { onFrame: ({ image }) => show(image) });
 *
 * All work is done in a worker. Importing this module also defines `<cci-image>`.
 */

export * from "./api";
export type { Header } from "./container";
export { CCIImage } from "./element";
export * from "./errors";
