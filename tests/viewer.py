"""A running viewer, and its answers taken apart: for the tests of the server and of the page."""

import http.client
import io
import json
import re
import struct
import subprocess
import sys

import numpy as np
from PIL import Image


class Viewer:
    """``codec view`` as a process of its own."""

    def __init__(self, place, *options):
        self._command = [sys.executable, "-m", "cli.main", "view", str(place), "--no-browser"]
        self._command += options

    def __enter__(self):
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + self.process.stderr.read()
        self.address, self.port = found[0], int(found[1])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def get(self, path, headers=None):
        return self._ask("GET", path, None, headers)

    def post(self, path, body, headers=None):
        return self._ask("POST", path, body, headers)

    def json(self, path):
        return json.loads(self.get(path)[1])

    def _ask(self, method, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def messages(data):
    """(head, payload) of each message of an answer."""
    at = 0
    while at < len(data):
        head, payload = struct.unpack_from("<II", data, at)
        at += 8
        yield json.loads(data[at : at + head]), data[at + head : at + head + payload]
        at += head + payload
    assert at == len(data)


def pixels(png) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)
