"""Starts the viewer on 127.0.0.1 and stops it cleanly."""

from __future__ import annotations

import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

import uvicorn

from cli.viewer.app import MAX_BODY, build
from cli.viewer.folder import Library
from codec.errors import OutputError

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """A listening socket on this machine alone; port 0 takes a free one. Raises OutputError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OutputError(
            f"port {port} cannot be used ({error.strerror}); without --port a free one is taken"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Ends the showings before it waits for connections to end."""

    stop: Callable[[], None]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stop()
        await super().shutdown(sockets)


def serve(
    library: Library,
    *,
    port: int,
    browser: bool,
    options: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C (or a termination signal).

    Args:
        announce: called with the address once it is reachable.
        options: ``device`` and ``max_pixels``, as of :func:`codec.decode_detailed`.

    Raises:
        OutputError: the port is taken.
    """
    listener = bind(port)
    port = listener.getsockname()[1]
    hosts = frozenset({f"{HOST}:{port}", f"localhost:{port}"})
    app = build(library, hosts=hosts, max_body=MAX_BODY, options=options)
    server = _Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    server.stop = app.state.stop
    address = f"http://{HOST}:{port}/"
    announce(address)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again once it is done
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
