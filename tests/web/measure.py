"""``python -m tests.web.measure FILE.cci...``: time and memory of files in Chromium.

Each file is decoded five times, after one that loads the weights. Prints a line per file:
milliseconds until each frame (by scale) and until the end, tasks of the page above 50 ms, and the
most memory that a process of a tab has taken so far.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from tests.web.browser import BROWSER, FLAGS, serving

TIMES = 5
MEASURE = """async ([file, times]) => {
  const { decode } = await import("./cci/cci.js");
  const tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)))
    .observe({ entryTypes: ["longtask"] });
  const data = await (await fetch(file)).arrayBuffer(), runs = [];
  for (let i = 0; i <= times; i++) {
    const started = performance.now(), run = {};
    const since = () => Math.round(performance.now() - started);
    const onFrame = ({ image, scale }) => { image.close(); run[`1/${scale}`] = since(); };
    const { image } = await decode(data, { weights: "cci/weights", onFrame });
    image.close();
    runs.push({ ...run, end: since() });
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  return { runs: runs.slice(1), tasks };
}"""


def most_memory() -> int:
    """Bytes that the largest tab of any Chromium here has taken at most."""
    most = 0
    for process in Path("/proc").iterdir():
        try:
            if "--type=renderer" in (process / "cmdline").read_text():
                status = (process / "status").read_text()
                most = max(most, int(status.split("VmHWM:")[1].split()[0]) * 1024)
        except (OSError, IndexError):  # gone, or no process
            continue
    return most


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        result = CliRunner().invoke(app, ["web", *sys.argv[1:], "-o", folder])
        if result.exit_code:
            sys.exit(result.output)
        (Path(folder) / "empty.html").write_text("<!doctype html><title>Empty</title>")
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page()
        with serving(Path(folder)) as (address, _):
            page.goto(f"{address}empty.html")
            for path in sorted((Path(folder) / "pictures").iterdir()):
                found = page.evaluate(MEASURE, [f"pictures/{path.name}", TIMES])
                memory = f"{most_memory() / 1e6:.0f} MB"
                print(path.name, found["runs"], "long tasks:", found["tasks"], memory, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
