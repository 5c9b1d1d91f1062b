/** Errors a user can cause, by the names and with the words of the Python side. */

/** Base of every error that input, arguments or the environment can cause. */
export class CodecError extends Error {
  override name = "CodecError";
}

/** The bytes are not a readable .cci file. */
export class FormatError extends CodecError {
  override name = "FormatError";
}

/** The bytes do not start like a .cci file. */
export class NotACodecFileError extends FormatError {
  override name = "NotACodecFileError";
}

/** The file ends too early: not even its first layer is complete. */
export class TruncatedError extends FormatError {
  override name = "TruncatedError";
}

/** A checksum does not match: the file was damaged. */
export class CorruptError extends FormatError {
  override name = "CorruptError";
}

/** The file needs a newer program, or weights that are not there. */
export class UnsupportedFileError extends FormatError {
  override name = "UnsupportedFileError";
}

/** A declared size exceeds what the caller allows. */
export class LimitError extends CodecError {
  override name = "LimitError";
}

/** An argument is out of range. */
export class ArgumentError extends CodecError {
  override name = "ArgumentError";
}

/** The file cannot be fetched. */
export class ImageError extends CodecError {
  override name = "ImageError";
}

/** Weights, or the decoder itself, cannot be loaded. */
export class ModelError extends CodecError {
  override name = "ModelError";
}

const CLASSES = [
  CodecError, FormatError, NotACodecFileError, TruncatedError, CorruptError, UnsupportedFileError,
  LimitError, ArgumentError, ImageError, ModelError,
];

/** What is left of an error on its way out of the worker. */
export interface ErrorMessage {
  name: string;
  message: string;
}

export function toMessage(error: unknown): ErrorMessage {
  if (error instanceof Error || error instanceof DOMException) {
    return { name: error.name, message: error.message };
  }
  return { name: "Error", message: String(error) };
}

/** The error that {@link toMessage} was made of. */
export function fromMessage({ name, message }: ErrorMessage): Error {
  if (name === "AbortError") return new DOMException(message, name);
  const known = CLASSES.find((one) => new one().name === name);
  return known ? new known(message) : new Error(`${name}: ${message}`);
}
