"""A hub on this machine: the answers of the real one that a download asks for, over a few bytes per file."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repositories: Mapping[str, list[str]]) -> Iterator[str]:
    """The address of a server that has the named files, each with its own name as content, in its repositories."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, whole: bool) -> None:
            about = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/([^/?]+))?(?:\?.*)?", self.path)
            file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            name = (about or file) and (about or file)[1]
            if name not in repositories or (file and file[3] not in repositories[name]):
                self.send_error(404)
                return
            commit = (about or file)[2] or COMMIT
            if about and "/tree/" in self.path:
                tree = [{"type": "file", "path": path, "size": len(path), "oid": COMMIT} for path in repositories[name]]
                body = json.dumps(tree).encode()
            elif about:
                siblings = [{"rfilename": path} for path in repositories[name]]
                body = json.dumps({"id": name, "sha": commit, "siblings": siblings, "private": False}).encode()
            else:
                body = file[3].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json" if about else "application/octet-stream")
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.end_headers()
            if whole:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
