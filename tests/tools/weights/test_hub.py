"""Pushes to and loads from a stand-in of the hub, which speaks its HTTP interface on this machine.

huggingface_hub is not in the extra `test`; it comes with gradio.
"""
from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import network
from network.checkpoints.weights import WeightsError
from tools.weights import __main__ as weights
from tools.weights.hub import FILES

COMMIT = "a" * 40


class StandIn(BaseHTTPRequestHandler):
    """Keeps the files of one network, all of them as regular files, in memory."""

    files: dict[str, bytes]
    is_private: bool | None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = f"http://{self.headers['Host']}/me/net"
        if self.path == "/api/repos/create":
            # the second form is that of newer versions of the package
            form = json.loads(body)
            type(self).is_private = bool(form.get("private") or form.get("visibility") == "private")
            self.answer({"url": address, "name": "me/net"})
        elif self.path == "/api/validate-yaml":
            self.answer({"warnings": [], "errors": []})
        elif self.path == "/api/models/me/net/preupload/main":
            paths = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False,
                                    "oid": None} for path in paths]})
        elif self.path == "/api/models/me/net/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            self.answer({"commitUrl": f"{address}/commit/{COMMIT}", "commitOid": COMMIT,
                         "success": True})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/me/net/tree/"):
            self.answer([{"type": "file", "path": path, "size": len(content),
                          "oid": hashlib.sha1(content).hexdigest()}
                         for path, content in self.files.items()])
        elif self.path.startswith("/api/models/me/net"):
            siblings = [{"rfilename": path} for path in self.files]
            self.answer({"_id": "1", "id": "me/net", "modelId": "me/net", "sha": COMMIT,
                         "private": False, "tags": [], "downloads": 0, "likes": 0,
                         "siblings": siblings})
        elif self.path.startswith("/me/net/resolve/") and name in self.files:
            self.send(self.files[name])
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, value: Any) -> None:
        self.send(json.dumps(value).encode(), "application/json")

    def send(self, content: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandIn]]:
    constants = pytest.importorskip(
        "huggingface_hub.constants",
        reason="huggingface_hub is not installed: pip install '.[hub]'")
    handler = type("Handler", (StandIn,), {"files": {}, "is_private": None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_TOKEN", "hf_standin")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def with_card(packed: Path, tmp_path: Path) -> Path:
    """A copy of the folder with a card, and with a file that must not travel."""
    folder = shutil.copytree(packed, tmp_path / "model")
    (folder / "README.md").write_text("# a card\n")
    (folder / "street.jpg").write_bytes(b"picture")
    (folder / "optimizer.pth").write_bytes(b"pickle")
    return folder


def test_a_pushed_network_comes_back(hub: type[StandIn], with_card: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.main(["push", str(with_card), "me/net", "--private"]) == 0
    assert COMMIT in capsys.readouterr().out
    assert hub.is_private is True
    assert {*hub.files} == {*FILES}
    # nothing but these two is downloaded
    hub.files["pytorch_model.bin"] = b"pickle"
    here, there = network.from_pretrained(with_card), network.from_pretrained("me/net")
    assert there.config == here.config
    state = there.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in here.state_dict().items())
    cached = {path.name for path in Path(with_card.parent / "cache").rglob("snapshots/*/*")}
    assert cached == {"config.json", "model.safetensors"}


def test_an_unknown_name_is_refused_in_one_line(hub: type[StandIn]) -> None:
    with pytest.raises(WeightsError, match="cannot be downloaded from the hub") as error:
        network.from_pretrained("me/other")
    assert "\n" not in str(error.value)


def test_a_folder_without_a_card_or_a_package_is_not_pushed(
        packed: Path, with_card: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    (with_card / "README.md").unlink()
    assert weights.main(["push", str(with_card), "me/net"]) == 2
    assert "lacks README.md: write the card with" in capsys.readouterr().err
    (with_card / "README.md").touch()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert weights.main(["push", str(with_card), "me/net"]) == 2
    assert ("push needs huggingface_hub, which is not installed: pip install '.[hub]'"
            in capsys.readouterr().err)
