"""A hub of model repositories on this machine, with as much of the protocol as the client needs."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """Serves the folders below `root` as `owner/name`, and remembers which files were fetched."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.fetched: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._describe("/".join(parts[2:4]), tree="tree" in parts)
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        path = self.server.root / name / file
        if not path.is_file():
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        if with_body:
            self.server.fetched.append(file)
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self._send(200, content, headers, with_body)

    def _describe(self, name: str, tree: bool) -> None:
        folder = self.server.root / name
        if not folder.is_dir():
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        sizes = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
        listed = [{"type": "file", "path": file, "size": size, "oid": COMMIT} for file, size in sizes.items()]
        described = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in sizes]}
        body = json.dumps(listed if tree else described).encode()
        return self._send(200, body, {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool = True) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@contextmanager
def hub(root: Path) -> Iterator[Hub]:
    """A running hub."""
    server = Hub(root)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use_hub(
    patch: pytest.MonkeyPatch, home: Path, address: str = "http://127.0.0.1:9", *, offline: bool = False
) -> None:
    """Sets the hub's client as HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE do when it is imported; at the usual address
    nobody answers.
    """
    from huggingface_hub import close_session, constants  # here: who imports this module may set these variables

    patch.setattr(constants, "HF_HUB_CACHE", str(home))
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    close_session()
