from __future__ import annotations

import socket
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import datasets
from eval import LoadedModel
from tests.openvino_here import hide_openvino
from tools.app import __main__ as app
from tools.app import views

SPEC = datasets.spec("camvid")

# a warning that gradio's client prints on any page
GRADIO_WARNING = "Method not implemented."

MAX_PIXELS, MAX_BYTES = 640 * 480, 1_000_000


def flags(snapshots: tuple[Path, Path], *more: str) -> Namespace:
    return app.build_parser().parse_args(["--snapshot", str(snapshots[0]), "--compare",
                                          str(snapshots[1]), "--precision", "fp32", *more])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(autouse=True, scope="module")
def torch_backend() -> Iterator[None]:
    """Runs networks in torch by default."""
    with pytest.MonkeyPatch.context() as patch:
        hide_openvino(patch)
        yield


@pytest.fixture(scope="module")
def models(two_snapshots: tuple[Path, Path]) -> list[LoadedModel]:
    return app.load(app.Options.from_args(flags(two_snapshots)))


@pytest.fixture(scope="module")
def foreign_addresses() -> Iterator[list[str]]:
    """The addresses of other machines that this process tried to reach."""
    asked: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo
    patch = pytest.MonkeyPatch()

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            asked.append(str(address[0]))
            raise OSError(f"{address} is another machine")
        connect(self, address)

    def looked_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in (None, "127.0.0.1", "::1", "localhost", b"127.0.0.1"):
            asked.append(str(host))
            raise OSError(f"{host} is another machine")
        return look_up(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded)
    patch.setattr(socket, "getaddrinfo", looked_up)
    yield asked
    patch.undo()


@pytest.fixture(scope="module")
def address(models: list[LoadedModel], foreign_addresses: list[str],
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with app.served(models, MAX_PIXELS, MAX_BYTES, free_port()) as address:
        yield address


@contextmanager
def shown(chromium: Any, address: str, **options: Any) -> Iterator[Any]:
    """Gives the page in a window that reaches this machine alone; fails on requests elsewhere and
    on messages.
    """
    context = chromium.new_context(viewport={"width": 1300, "height": 860}, **options)
    context.set_default_timeout(8000)
    trouble: list[str] = []

    def only_here(route: Any) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            trouble.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    tab = context.new_page()
    tab.on("console",
           lambda message: message.text == GRADIO_WARNING or trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#picture input[type=file]", state="attached")
    yield tab
    context.close()
    assert trouble == []


@pytest.fixture(scope="module")
def tab(chromium: Any, address: str) -> Iterator[Any]:
    with shown(chromium, address) as tab:
        yield tab


def upload(tab: Any, path: Path) -> None:
    if tab.locator("#picture button[aria-label='Clear']").count():
        tab.locator("#picture button[aria-label='Clear']").click()
        tab.wait_for_selector("#picture input[type=file]", state="attached")
    tab.set_input_files("#picture input[type=file]", path)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("street") / "street.png"
    cv2.imwrite(str(path),
                np.random.default_rng(3).integers(0, 256, (12, 16, 3),
                                                  np.uint8).repeat(12, 0).repeat(12, 1))
    return path


@pytest.fixture(scope="module")
def labels(models: list[LoadedModel], street: Path) -> list[np.ndarray]:
    image = datasets.read_image(street)
    return [views.predict(model, image) for model in models]


@pytest.fixture
def predicted(tab: Any, street: Path) -> Any:
    if not tab.locator(".viewer .legend li").count():
        upload(tab, street)
        tab.wait_for_selector(".viewer .legend li", state="attached")
    return tab
