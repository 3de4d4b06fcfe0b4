from __future__ import annotations

import base64
import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import datasets
from eval import LoadedModel
from tests.tools.app.conftest import MAX_BYTES, MAX_PIXELS, SPEC, shown, upload
from tools.app import __main__ as app
from tools.maintainer import screenshots

pytest.importorskip("gradio", reason="the extra `app` brings it")

from tools.app import page


def point(tab: Any, stage: Any, x: float, y: float) -> None:
    box = stage.bounding_box()
    tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_the_legend_tells_the_share_of_each_class(predicted: Any, labels: list[np.ndarray]) -> None:
    counts = np.bincount(labels[0].ravel(), minlength=len(SPEC.names))
    told = predicted.locator(".viewer .legend li").all_inner_texts()
    assert len(told) == (counts > 0).sum() >= 2
    largest = int(counts.argmax())
    assert told[0].split("\n") == [SPEC.names[largest],
                                   f"{100 * counts[largest] / labels[0].size:.1f} %"]
    assert "144 pixels, both predicted in" in predicted.locator(".message").inner_text()


@pytest.mark.parametrize(("x", "y"), [(0.1, 0.2), (0.5, 0.5), (0.9, 0.8)])
def test_the_class_under_the_pointer_is_told(predicted: Any, labels: list[np.ndarray], x: float,
                                             y: float) -> None:
    predicted.get_by_role("tab", name="Classes").click()
    stage = predicted.locator(".classes .stage")
    point(predicted, stage, x, y)
    found = SPEC.names[labels[0][int(y * 144), int(x * 192)]]
    assert predicted.locator(".classes .tip b").inner_text() == found
    assert predicted.locator(".legend .chosen .name").inner_text() == found
    predicted.mouse.move(1, 1)
    assert predicted.locator(".legend .chosen").count() == 0


def test_the_slider_lets_the_picture_through(predicted: Any, street: Path,
                                             labels: list[np.ndarray]) -> None:
    predicted.get_by_role("tab", name="Classes").click()
    image = datasets.read_image(street)

    def middle(value: int) -> np.ndarray:
        predicted.locator(".classes .opacity input").evaluate(
            "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value)
        seen = cv2.imdecode(np.frombuffer(predicted.locator(".classes .stage").screenshot(),
                                          np.uint8),
                            cv2.IMREAD_COLOR)
        seen = cv2.resize(seen, (192, 144), interpolation=cv2.INTER_AREA)[..., ::-1]
        # the corners are round
        return seen[20:-20, 20:-20].astype(int)

    expected = SPEC.palette[labels[0]][20:-20, 20:-20].astype(int)
    assert np.median(np.abs(middle(100) - expected)) < 4
    # a JPEG
    assert np.median(np.abs(middle(0) - image[20:-20, 20:-20])) < 12


def test_flow_fields_stand_beside_their_wheel(predicted: Any) -> None:
    predicted.get_by_role("tab", name="Flow fields").click()
    predicted.wait_for_selector(".flows .wheel")
    assert predicted.locator(".flows .wheel").count() == 2
    assert "the rim of the wheel is" in predicted.locator(".flows figcaption").nth(1).inner_text()
    sizes = predicted.locator(".flows .field").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert max(sizes) - min(sizes) < 2 and min(sizes) > 100


def test_confidence_stands_beside_its_bar(predicted: Any) -> None:
    predicted.get_by_role("tab", name="Confidence").click()
    predicted.wait_for_selector(".bar-of-colors >> visible=true")
    captions = predicted.locator(".flows figcaption >> visible=true").all_inner_texts()
    assert [caption.split(":")[0] for caption in captions[1:]] == [
        "Probability of the class", "Margin to the second class"]


def test_two_networks_are_compared_where_they_differ(predicted: Any,
                                                     labels: list[np.ndarray]) -> None:
    predicted.get_by_role("tab", name="Comparison").click()
    predicted.wait_for_selector(".comparison canvas")
    apart = labels[0] != labels[1]
    assert (f"{100 * apart.mean():.1f} % of the pixels differ"
            in predicted.locator(".comparison").inner_text())
    y, x = np.argwhere(apart)[apart.sum() // 2]
    point(predicted, predicted.locator(".comparison .stage").nth(0), (x + 0.5) / 192,
          (y + 0.5) / 144)
    told = predicted.locator(".comparison .tip").nth(2).inner_text()
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
            "large.png has 640 × 481 pixels, more than the 307,200 that are accepted here: "
            "shrink it",
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
        assert re.search(r"has \d+ × \d+ pixels, more than the",
                         tab.locator(".message").inner_text())


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
        assert re.fullmatch(r"640 × 480 pixels, predicted in [\d,]+ ms, [\d.]+ images/s shown",
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


def test_an_upload_is_answered_with_a_message_and_the_value_of_each_viewer(
    models: list[LoadedModel], street: Path
) -> None:
    upload = {"path": str(street), "orig_name": "street.png"}
    message, *values = page.predict_upload(models, MAX_PIXELS, upload)
    assert "192 × 144 pixels, both predicted in" in message
    assert [json.loads(value)["kind"] for value in values] == ["classes", "flows", "confidence",
                                                               "comparison"]
    assert page.predict_upload(models, MAX_PIXELS, None) == ["", "", "", "", ""]
    message, *values = page.predict_upload(models, 100, upload)
    assert "street.png has 192 × 144 pixels, more than the 100" in message
    assert "message bad" in message
    assert values == ["", "", "", ""]


def test_a_frame_of_the_camera_is_answered_by_the_first_network(models: list[LoadedModel]) -> None:
    frame = cv2.imencode(".png", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    url = "data:image/png;base64," + base64.b64encode(frame).decode()
    message, value = page.predict_frame(models[0], MAX_PIXELS, {"url": url})
    assert message == ""
    assert json.loads(value)["live"]
    assert json.loads(value)["note"].startswith("60 × 40 pixels, predicted in")
    message, value = page.predict_frame(models[0], MAX_PIXELS, {"url": ""})
    assert "The camera&#x27;s frame is damaged" in message
    assert (value, page.predict_frame(models[0], MAX_PIXELS, None)) == ("", ["", ""])


def test_the_page_is_served_to_this_machine_alone(address: str,
                                                  foreign_addresses: list[str]) -> None:
    with urllib.request.urlopen(address, timeout=10) as response:
        assert "SFSegNets" in response.read().decode()
    assert foreign_addresses == []


def test_no_other_machine_was_asked(predicted: Any, foreign_addresses: list[str]) -> None:
    # the guard is there
    with pytest.raises(OSError, match="another machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    assert foreign_addresses == ["192.0.2.1"]


def test_a_second_app_on_the_same_port_is_told_to_take_another(
    two_snapshots: tuple[Path, Path], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    assert app.main(["--snapshot", str(two_snapshots[0]), "--port", port]) == 2
    assert (f"port {port} is taken, perhaps by another app: choose another with --port"
            in capsys.readouterr().err)


def test_each_tab_is_pictured_for_documents(
    chromium: Any, address: str, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screenshots.take_app(chromium, address, tmp_path, (700, 1000), street)
    shown = {path.stem: cv2.imread(str(path)).std() for path in tmp_path.iterdir()}
    assert set(shown) == {"classes", "flow_fields", "confidence", "comparison"}
    assert min(shown.values()) > 10
    assert screenshots.main([address, "--out", str(tmp_path)]) == 2
    assert "the app needs a --picture to predict, and none is given" in capsys.readouterr().err
