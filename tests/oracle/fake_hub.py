# SPDX-License-Identifier: MIT
"""As much of the Hugging Face hub as huggingface_hub asks for a snapshot, on this machine, out of a folder.

with FakeHub({"owner/repo": folder}) as hub:
    hub.snapshot("owner/repo", cache)
"""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

REVISION = hashlib.sha1(b"the only commit").hexdigest()
JSON = {"Content-Type": "application/json"}


def is_large(file: pathlib.Path) -> bool:
    """Kept by git-lfs there: its blob is named by its sha256, others as git names them."""
    return file.suffix == ".safetensors"


def blob_name(file: pathlib.Path, data: bytes) -> str:
    return (hashlib.sha256(data) if is_large(file) else hashlib.sha1(b"blob %d\0" % len(data) + data)).hexdigest()


def tree(folder: pathlib.Path) -> list[dict]:
    entries = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        entry = {"type": "file", "path": str(file.relative_to(folder)), "size": len(data), "oid": blob_name(file, data)}
        if is_large(file):
            entry["lfs"] = {"oid": entry["oid"], "size": len(data), "pointerSize": 130}
        entries.append(entry)
    return entries


class FakeHub:
    def __init__(self, repositories: dict[str, pathlib.Path]):
        hub = self
        self.repositories = repositories

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self, body=True)

            def do_HEAD(self):
                hub.answer(self, body=False)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, body: bool):
        path = request.path.partition("?")[0]
        for name, folder in self.repositories.items():
            if path.startswith(f"/api/models/{name}/tree/"):
                return self.send(request, json.dumps(tree(folder)).encode(), JSON, body)
            if path.startswith(f"/api/models/{name}"):
                siblings = [{"rfilename": entry["path"]} for entry in tree(folder)]
                data = json.dumps({"id": name, "sha": REVISION, "siblings": siblings}).encode()
                return self.send(request, data, JSON, body)
            if path.startswith(f"/{name}/resolve/"):
                file = folder / path.removeprefix(f"/{name}/resolve/").partition("/")[2]
                data = file.read_bytes()
                etag = f'"{blob_name(file, data)}"'
                headers = {"X-Repo-Commit": REVISION, "ETag": etag}
                if is_large(file):
                    headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
                return self.send(request, data, headers, body)
        request.send_error(404)

    @staticmethod
    def send(request, data: bytes, headers: dict[str, str], body: bool):
        request.send_response(200)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if body:
            with contextlib.suppress(BrokenPipeError):
                request.wfile.write(data)

    def snapshot(self, name: str, cache: pathlib.Path) -> pathlib.Path:
        """Fetched by huggingface_hub in a process of its own: it reads its settings when it is imported."""
        host, port = self.server.server_address
        settings = {"HF_ENDPOINT": f"http://{host}:{port}", "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
        code = "import sys, huggingface_hub as h; print(h.snapshot_download(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            env=os.environ | settings | {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": host},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return pathlib.Path(done.stdout.split("\n")[-2])
