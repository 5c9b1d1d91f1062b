// `node build.mjs`: kernels (AssemblyScript → WebAssembly) and bundles. With --tests: the tests too.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import * as esbuild from "esbuild";

/** Where the Python package takes the built files from. */
const SHIPPED = process.env.CCI_SHIPPED ?? "../cli/gallery/static";

mkdirSync("build", { recursive: true });
execFileSync("node", [
  "node_modules/assemblyscript/bin/asc.js", "assembly/index.ts", "-o", "build/kernels.wasm",
  "-O3", "--runtime", "stub", "--noAssert", "--enable", "simd", "--memoryBase", "1024",
], { stdio: "inherit" });

/** The gallery takes decoder and element from the file beside it. */
const beside = {
  name: "beside",
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/index$/ }, () => (
    { path: "./cci.js", external: true })),
};

const common = {
  bundle: true, format: "esm", target: "es2022", loader: { ".wasm": "binary" }, logLevel: "warning",
};

if (process.argv.includes("--tests")) {
  await esbuild.build({
    ...common,
    entryPoints: [
      "decoding.test", "additions.test", "area.test", "machine.test", "mutations.test", "decode", "outcomes",
    ].map((name) => `test/${name}.ts`),
    outdir: "build/test", platform: "node", sourcemap: "inline",
  });
} else {
  await esbuild.build({
    ...common, minify: true, legalComments: "none",
    entryPoints: { cci: "src/index.ts", "cci-worker": "src/worker.ts", gallery: "src/gallery.ts" },
    plugins: [beside], outdir: SHIPPED,
  });
}
