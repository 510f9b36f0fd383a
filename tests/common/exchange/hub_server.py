"""A Hub of one process: the few addresses that the real client asks to make a repository, commit files and fetch them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml


class Hub:
    """Repositories as {name: {branch: [commits]}}, a commit being (id, {path: bytes}); `token` is the only one that may write."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.repos: dict[str, dict[str, list[tuple[str, dict[str, bytes]]]]] = {}
        self.private: set[str] = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        """Add files to a branch; return the commit's id."""
        commits = self.repos[repo][branch]
        before = commits[-1][1] if commits else {}
        number = sum(len(commits) for commits in self.repos[repo].values())
        oid = hashlib.sha1(f"{repo} {branch} {number}".encode()).hexdigest()
        commits.append((oid, {**before, **files}))
        return oid

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return a revision's commit, by branch or id."""
        branches = self.repos[repo]
        if revision in branches:
            return branches[revision][-1]
        return next((commit for commits in branches.values() for commit in commits if commit[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._send(401, {"error": "Invalid username or password."})
        if self.path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/([^/]+)", self.path)
        assert match is not None, self.path
        repo, action, revision = match.groups()
        if action == "branch":
            if revision in self.hub.repos[repo]:
                return self._send(409, {"error": "Reference already exists"})
            self.hub.repos[repo][revision] = list(self.hub.repos[repo]["main"])
            return self._send(200, {})
        if action == "preupload":
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return self._send(200, {"files": files})
        entries = [json.loads(line) for line in body.splitlines()]
        files = {e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in entries if e["key"] == "file"}
        oid = self.hub.commit(repo, revision, files)
        return self._send(200, {"commitOid": oid, "commitUrl": f"{self.hub.address}/{repo}/commit/{oid}", "success": True})

    def _validate(self, card: str) -> None:
        """Say what is wrong with a card's front matter, as the Hub does: it must be YAML with a licence."""
        front = card.split("---\n")[1]
        errors = [] if yaml.safe_load(front).get("license") != "nonsense" else [{"message": "license must be a valid id"}]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def _create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.repos:
            return self._send(409, {"error": "exists", "url": f"{self.hub.address}/{repo}"})
        self.hub.repos[repo] = {"main": []}
        self.hub.commit(repo, "main", {".gitattributes": b""})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(repo)
        return self._send(200, {"url": f"{self.hub.address}/{repo}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):  # asked after a repository could not be made: is it there?
            return self._send(401, {"error": "Invalid username or password."})
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        assert match is not None, self.path
        repo, revision, path = match.groups()
        if repo not in self.hub.repos:
            return self._send(404, {}, {"X-Error-Code": "RepoNotFound"})
        found = self.hub.files(repo, revision)
        if found is None:
            return self._send(404, {}, {"X-Error-Code": "RevisionNotFound"})
        oid, files = found
        if path not in files:
            return self._send(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
        etag = hashlib.sha1(files[path]).hexdigest()
        return self._send(200, files[path], {"ETag": f'"{etag}"', "X-Repo-Commit": oid})

    def _send(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
