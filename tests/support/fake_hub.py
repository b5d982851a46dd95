"""A Hugging Face hub on loopback, with one model and one data set, which may be gated and whose main branch moves."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class FakeHub:
    """`repositories`: "models/owner/name" -> commits, the newest last; each is a folder."""

    def __init__(self, repositories: dict[str, list[Path]], token: str | None = None) -> None:
        self.repositories, self.token = repositories, token
        self.url = ""
        self.unknown: list[str] = []
        """What was asked for and is not there, as `GET /path`."""

    def commit(self, repository: str, number: int = -1) -> str:
        """The 40 digits of a commit."""
        folder = self.repositories[repository][number]
        return hashlib.sha1(f"{repository} {folder}".encode()).hexdigest()

    def folder(self, repository: str, revision: str) -> tuple[str, Path] | None:
        """(commit, its folder); None: there is none of that name."""
        folders = self.repositories[repository]
        commits = {self.commit(repository, number): folder for number, folder in enumerate(folders)}
        commit = self.commit(repository) if revision == "main" else revision
        return (commit, commits[commit]) if commit in commits else None


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub at `hub.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = self.rfile.read(length)
            path = unquote(urlsplit(self.path).path).strip("/")
            if not path:
                return self.answer(b"")
            api, bare = path.startswith("api/"), path.removeprefix("api/")
            bare = bare if bare.startswith(("models/", "datasets/")) else f"models/{bare}"
            kind, owner, name, *rest = [*bare.split("/"), "", ""][: max(4, len(bare.split("/")))]
            repository = f"{kind}/{owner}/{name}"
            rest = [part for part in rest if part]
            if repository not in hub.repositories:
                hub.unknown.append(f"{self.command} {path}")
                return self.answer(b"{}", 404, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            verb = rest[0] if rest else "revision"
            found = hub.folder(repository, rest[1] if len(rest) > 1 else "main")
            if found is None:
                return self.answer(b"{}", 404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
            commit, folder = found
            if api and verb == "revision":
                files = [{"rfilename": str(f.relative_to(folder))} for f in sorted(folder.rglob("*")) if f.is_file()]
                about = {"id": f"{owner}/{name}", "sha": commit, "siblings": files, "private": False, "tags": []}
                return self.answer(json.dumps(about).encode(), Content_Type="application/json")
            if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.answer(b"", 403 if "Authorization" in self.headers else 401, X_Error_Code="GatedRepo",
                                   X_Error_Message="Access to this is restricted")  # fmt: skip
            if api and verb in ("tree", "paths-info"):
                wanted = json.loads(form)["paths"] if verb == "paths-info" and form else None
                entries = [_entry(file, folder) for file in sorted(folder.iterdir()) if file.is_file()]
                entries = [entry for entry in entries if wanted is None or entry["path"] in wanted]
                inner = rest[2:] and verb == "tree"
                return self.answer(json.dumps([] if inner else entries).encode(), Content_Type="application/json")
            file = folder / "/".join(rest[2:])
            if verb != "resolve" or not file.is_file():
                hub.unknown.append(f"{self.command} {path}")
                return self.answer(b"", 404, X_Repo_Commit=commit, X_Error_Code="EntryNotFound",
                                   X_Error_Message="no such entry")  # fmt: skip
            body = file.read_bytes()
            return self.answer(body, X_Repo_Commit=commit, ETag=f'"{hashlib.sha1(body).hexdigest()}"')

        do_HEAD = do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _entry(file: Path, folder: Path) -> dict[str, Any]:
    body = file.read_bytes()
    return {
        "type": "file", "path": str(file.relative_to(folder)), "size": len(body),
        "oid": hashlib.sha1(body).hexdigest(),
    }  # fmt: skip
