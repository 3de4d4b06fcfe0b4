"""The app in a real browser with real uploads, and what it asks of other machines: nothing."""
from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tools.app import __main__ as app
from tools.maintainer import screenshots

pytest.importorskip("gradio", reason="the extra `app` brings it")

SPEC = datasets.spec("camvid")
# a warning of gradio's client, whatever the page is
GRADIOS_OWN = "Method not implemented."
MAX_PIXELS, MAX_BYTES = 640 * 480, 1_000_000


def flags(snapshots: tuple[Path, Path], *more: str) -> Namespace:
    return app.build_parser().parse_args([
        "--snapshot", str(snapshots[0]), "--compare", str(snapshots[1]), "--precision", "fp32",
        *more,
    ])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def models(two_snapshots: tuple[Path, Path]) -> Any:
    return app.load(flags(two_snapshots))


@pytest.fixture(scope="module")
def strangers() -> Iterator[list[str]]:
    """The addresses other than this machine's that this process asked for."""
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
def address(
    models: Any, strangers: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
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
    tab.on("console", lambda message: message.text == GRADIOS_OWN or trouble.append(message.text))
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
    cv2.imwrite(
        str(path),
        np.random.default_rng(3)
        .integers(0, 256, (12, 16, 3), np.uint8)
        .repeat(12, 0)
        .repeat(12, 1),
    )
    return path


@pytest.fixture(scope="module")
def labels(models: Any, street: Path) -> list[np.ndarray]:
    image = datasets.read_image(street)
    return [model.labels(image) for model in models]


@pytest.fixture
def parsed(tab: Any, street: Path) -> Any:
    if not tab.locator(".viewer .legend li").count():
        upload(tab, street)
        tab.wait_for_selector(".viewer .legend li", state="attached")
    return tab


def point(tab: Any, stage: Any, x: float, y: float) -> None:
    box = stage.bounding_box()
    tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_the_legend_tells_the_share_of_each_class(parsed: Any, labels: list[np.ndarray]) -> None:
    counts = np.bincount(labels[0].ravel(), minlength=len(SPEC.names))
    told = parsed.locator(".viewer .legend li").all_inner_texts()
    assert len(told) == (counts > 0).sum() >= 2
    largest = int(counts.argmax())
    assert told[0].split("\n") == [
        SPEC.names[largest], f"{100 * counts[largest] / labels[0].size:.1f} %",
    ]
    assert "144 pixels, both parsed in" in parsed.locator(".message").inner_text()


@pytest.mark.parametrize(("x", "y"), [(0.1, 0.2), (0.5, 0.5), (0.9, 0.8)])
def test_the_class_under_the_pointer_is_told(
    parsed: Any, labels: list[np.ndarray], x: float, y: float
) -> None:
    parsed.get_by_role("tab", name="Classes").click()
    stage = parsed.locator(".classes .stage")
    point(parsed, stage, x, y)
    found = SPEC.names[labels[0][int(y * 144), int(x * 192)]]
    assert parsed.locator(".classes .tip b").inner_text() == found
    assert parsed.locator(".legend .chosen .name").inner_text() == found
    parsed.mouse.move(1, 1)
    assert parsed.locator(".legend .chosen").count() == 0


def test_the_slider_lets_the_picture_through(
    parsed: Any, street: Path, labels: list[np.ndarray]
) -> None:
    parsed.get_by_role("tab", name="Classes").click()
    image = datasets.read_image(street)

    def middle(value: int) -> np.ndarray:
        parsed.locator(".classes .opacity input").evaluate(
            "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value)
        seen = cv2.imdecode(
            np.frombuffer(parsed.locator(".classes .stage").screenshot(), np.uint8),
            cv2.IMREAD_COLOR,
        )
        seen = cv2.resize(seen, (192, 144), interpolation=cv2.INTER_AREA)[..., ::-1]
        # the corners are round
        return seen[20:-20, 20:-20].astype(int)

    wanted = SPEC.palette[labels[0]][20:-20, 20:-20].astype(int)
    assert np.median(np.abs(middle(100) - wanted)) < 4
    # a JPEG
    assert np.median(np.abs(middle(0) - image[20:-20, 20:-20])) < 12


def test_flow_fields_stand_beside_their_wheel(parsed: Any) -> None:
    parsed.get_by_role("tab", name="Flow fields").click()
    parsed.wait_for_selector(".flows .wheel")
    assert parsed.locator(".flows .wheel").count() == 2
    assert "the rim of the wheel is" in parsed.locator(".flows figcaption").nth(1).inner_text()
    sizes = parsed.locator(".flows .field").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert max(sizes) - min(sizes) < 2 and min(sizes) > 100


def test_two_networks_are_compared_where_they_differ(parsed: Any, labels: list[np.ndarray]) -> None:
    parsed.get_by_role("tab", name="Comparison").click()
    parsed.wait_for_selector(".comparison canvas")
    apart = labels[0] != labels[1]
    assert (
        f"{100 * apart.mean():.1f} % of the pixels differ"
        in parsed.locator(".comparison").inner_text()
    )
    y, x = np.argwhere(apart)[apart.sum() // 2]
    point(parsed, parsed.locator(".comparison .stage").nth(0), (x + 0.5) / 192, (y + 0.5) / 144)
    told = parsed.locator(".comparison .tip").nth(2).inner_text()
    assert re.findall(r"[AB] (\w+)", told) == [SPEC.names[each[y, x]] for each in labels]


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        (
            "broken.png", lambda data: data[:200],
            "broken.png is truncated or damaged.*PNG, JPEG and WebP pictures are read",
        ),
        ("text.png", lambda data: b"no picture", "text.png .*PNG, JPEG and WebP pictures are read"),
        (
            "large.png",
            lambda data: cv2.imencode(".png", np.zeros((481, 640, 3), np.uint8))[1].tobytes(),
            "large.png has 640 × 481 pixels, more than the 307,200 that are parsed here: shrink it",
        ),
    ],
)
def test_a_bad_picture_is_answered_in_the_page(
    chromium: Any, address: str, street: Path, tmp_path: Path, name: str, make: Any, message: str
) -> None:
    (tmp_path / name).write_bytes(make(street.read_bytes()))
    with shown(chromium, address) as tab:
        upload(tab, tmp_path / name)
        tab.wait_for_selector(".message.bad")
        assert re.search(message, tab.locator(".message").inner_text(), re.DOTALL)
        # and the page goes on
        upload(tab, street)
        tab.wait_for_selector(".viewer .legend li")


def test_a_file_of_too_many_bytes_is_not_taken(chromium: Any, address: str, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(bytes(MAX_BYTES + 1))
    with shown(chromium, address) as tab:
        upload(tab, tmp_path / "huge.png")
        tab.get_by_text(re.compile("exceeds? .*size")).first.wait_for()
        assert tab.locator(".viewer .legend li").count() == 0


def test_the_camera_takes_a_picture(chromium: Any, address: str) -> None:
    with shown(chromium, address, permissions=["camera"], color_scheme="dark") as tab:
        tab.locator("#picture button[aria-label='Capture from camera']").click()
        tab.locator("#picture button:has-text('Click to Access Webcam')").click()
        capture = tab.locator("#picture button[aria-label='capture photo']")
        capture.wait_for()
        tab.wait_for_function("document.querySelector('#picture video').videoWidth > 0")
        capture.click()
        tab.wait_for_selector(".message")
        # full HD
        assert re.search(
            r"has \d+ × \d+ pixels, more than the", tab.locator(".message").inner_text()
        )


def test_the_camera_is_followed_live(chromium: Any, address: str) -> None:
    with shown(chromium, address, permissions=["camera"]) as tab:
        # the camera needs a while
        tab.set_default_timeout(30_000)
        tab.get_by_role("tab", name="Live").click()
        tab.locator("#camera button:has-text('Click to Access Webcam')").click()
        record = tab.locator("#camera button[aria-label='capture photo']")
        record.click()
        seen = tab.locator(".viewer:visible")
        seen.locator(".faint", has_text="images/s shown").wait_for()
        assert re.fullmatch(r"640 × 480 pixels, parsed in [\d,]+ ms, [\d.]+ images/s shown",
                            seen.locator(".faint").inner_text())
        seen.locator(".opacity input").fill("20")
        seen.locator(".stage").hover(position={"x": 50, "y": 60})
        frame = seen.locator(".stage img").get_attribute("src")
        tab.wait_for_function(
            "before => document.querySelector('.viewer .stage img').src !== before", arg=frame
        )
        # both outlive a frame
        assert seen.locator(".tip b").inner_text() in SPEC.names
        assert seen.locator(".opacity output").inner_text() == "20 %"
        record.click()


def test_a_cameras_frame_that_cannot_be_parsed_is_refused() -> None:
    from tools.app import views
    frame = cv2.imencode(".png", np.full((4, 6, 3), (1, 2, 3), np.uint8))[1].tobytes()
    uri = "data:image/png;base64," + base64.b64encode(frame).decode()
    assert views.decode(uri, 24)[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(
        views.Refused, match="gives 6 × 4 pixels, more than the 23 that are parsed here"
    ):
        views.decode(uri, 23)
    for damaged in (uri[:40] + "AAAA", "data:image/png;base64,", "data:image/png;base64,§"):
        with pytest.raises(views.Refused, match="The camera's frame is damaged"):
            views.decode(damaged, 24)


def test_no_other_machine_was_asked(parsed: Any, strangers: list[str]) -> None:
    # the guard is there
    with pytest.raises(OSError, match="another machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    assert strangers == ["192.0.2.1"]


def test_a_second_app_on_the_same_port_is_told_to_take_another(
    two_snapshots: tuple[Path, Path], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    assert app.main(["--snapshot", str(two_snapshots[0]), "--port", port]) == 2
    assert (
        f"port {port} is taken, perhaps by another app: choose another with --port"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting(stop: signal.Signals) -> None:
    before = signal.getsignal(stop)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), stop))
    timer.start()
    app.wait()
    timer.join()
    assert signal.getsignal(stop) == before


def test_what_was_uploaded_is_deleted_at_the_end(models: Any) -> None:
    with app.served(models, MAX_PIXELS, MAX_BYTES, free_port()):
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        (uploads / "picture.png").write_bytes(b"")
    assert not uploads.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") != str(uploads)


def test_each_tab_is_pictured_for_documents(
    chromium: Any, address: str, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screenshots.take_app(chromium, address, tmp_path, (700, 1000), street)
    shown = {path.stem: cv2.imread(str(path)).std() for path in tmp_path.iterdir()}
    assert set(shown) == {"classes", "flow_fields", "comparison"}
    assert min(shown.values()) > 10
    assert screenshots.main([address, "--out", str(tmp_path)]) == 2
    assert "the app needs a --picture to parse, and none is given" in capsys.readouterr().err


def test_networks_of_other_classes_are_not_compared(
    two_snapshots: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    names = datasets.spec("cityscapes").names
    torch.save(
        {
            "arch": "sfnet_dfnetv1", "dataset": "cityscapes", "classes": list(names),
            "state_dict": published_state_dict(network.build("sfnet_dfnetv1", len(names))),
        },
        other,
    )
    assert app.main(["--snapshot", str(two_snapshots[0]), "--compare", str(other)]) == 2
    assert "but camvid has 11 classes" in capsys.readouterr().err


def test_a_network_without_flow_alignment_says_so(models: Any) -> None:
    from tools.app import views
    net = network.build("fpn_dfnetv1", SPEC.num_classes).eval()
    predictor = type(models[0].predictor)(net, torch.device("cpu"), "fp32", SPEC.mean, SPEC.std)
    said, values = views.parse(
        [views.Model("plain", predictor, SPEC)], np.zeros((64, 64, 3), np.uint8)
    )
    assert json.loads(values[1])["fields"] == []
    assert "no flow alignment" in json.loads(values[1])["note"]
    assert said.startswith("64 × 64 pixels, parsed in")
