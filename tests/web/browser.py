"""Chromium, headless, and a web server that only hands out files."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.test_viewer_page import BROWSER, FLAGS

__all__ = ["BROWSER", "FLAGS", "serving"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        if kept := self.server.kept:  # type: ignore[attr-defined]
            self.send_header("Cache-Control", kept)
        super().end_headers()


@contextmanager
def serving(folder: Path, kept: str = "") -> Iterator[tuple[str, list[str]]]:
    """The address of a folder's files, and the paths that are asked for. ``kept``: how long
    browsers may keep the answers (Cache-Control)."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.paths, server.kept = [], kept  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", server.paths  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
