"""An S3 server of its own process, behind a proxy that lets requests fail."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Told method, path and how many such requests came before; says what to do instead of an answer.
Fault = Callable[[str, str, int], str | None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def moto_server() -> Iterator[int]:
    """moto's S3 server as a process; gives its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


class Proxy:
    """Passes requests on, but for those that ``fault`` has ``drop`` (the connection is closed) or
    ``refuse`` (503). ``injected`` counts what it did."""

    def __init__(self, target: int) -> None:
        self.fault: Fault = lambda method, path, before: None
        self.seen: Counter = Counter()
        self.injected: Counter = Counter()
        lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.split("?")[0]
                with lock:
                    before = proxy.seen[self.command, path]
                    proxy.seen[self.command, path] += 1
                what = proxy.fault(self.command, path, before)
                if what is not None:
                    with lock:
                        proxy.injected[what] += 1
                if what == "drop":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif what == "refuse":
                    self.reply(503, {}, b"<Error><Code>ServiceUnavailable</Code></Error>")
                else:
                    self.forward(body)

            def forward(self, body: bytes) -> None:
                # The signature covers the Host header, so it is passed on as it came.
                upstream = http.client.HTTPConnection("127.0.0.1", target)
                upstream.putrequest(self.command, self.path, skip_host=True)
                for name, value in self.headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body)
                response = upstream.getresponse()
                self.reply(response.status, dict(response.getheaders()), response.read())
                upstream.close()

            def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

            def log_message(self, *arguments) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
