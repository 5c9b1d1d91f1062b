// The kernels of the decoder, in WebAssembly: rows of numbers in, rows of numbers out. Nothing here
// allocates; the caller owns the memory.
export { addContext, depthwise64, narrow, pointwise64, predicted, settle, widen } from "./exact";
export { beginLayer, decodeStep } from "./coding";
export { affine, depthwise32, gate, pointwise32, shuffle } from "./float";
export {
  addTones, applyChange, chromaChange, lumaChange, planesOf, products, slopes, steer, sums, turns,
} from "./filter";
