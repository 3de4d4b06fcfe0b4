"""The pages of reports in a browser, by pointer and keyboard, without network and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

from tools.maintainer import screenshots

pytest.importorskip("playwright", reason="the extra `test` brings it")

from playwright.sync_api import expect


@contextmanager
def shown(chromium: Any, path: Any, **options: Any) -> Iterator[Any]:
    """Opens the page from disk without a network; fails if it prints or requests anything."""
    context = chromium.new_context(viewport={"width": 1200, "height": 860}, **options)
    context.set_offline(True)
    tab, trouble = context.new_page(), []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request",
           lambda request: (request.url.startswith(("file:", "data:"))
                            or trouble.append(request.url[:80])))
    tab.goto(path.as_uri())
    yield tab
    context.close()
    assert trouble == []


@pytest.fixture
def single(chromium: Any, scored: Any) -> Iterator[Any]:
    with shown(chromium, scored.single) as tab:
        yield tab


@pytest.fixture
def paired(chromium: Any, scored: Any) -> Iterator[Any]:
    with shown(chromium, scored.paired) as tab:
        yield tab


def pixels(tab: Any, selector: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(tab.locator(selector).screenshot(), np.uint8),
                        cv2.IMREAD_COLOR).astype(int)


def opened(tab: Any) -> str:
    """The name of the image in the viewer; fails when the viewer is shut."""
    assert tab.locator("#viewer").evaluate("one => one.open")
    return str(tab.locator("#v-name").inner_text())


def settled(tab: Any) -> None:
    tab.evaluate(screenshots.DECODED)


def test_every_section_is_drawn(single: Any) -> None:
    for section in ("scores", "classes", "confusion", "training", "gallery", "facts"):
        assert single.locator(f"#{section}").bounding_box()["height"] > 40
    # two losses and the rate; a single validation is a dot
    assert single.locator(".chart polyline").count() == 3
    assert single.locator(".card img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    overflow = single.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0


def test_the_slider_moves_by_pointer_and_by_keyboard(single: Any) -> None:
    single.locator(".card").first.click()
    settled(single)
    before, stage = pixels(single, "#v-stage"), single.locator("#v-stage").bounding_box()
    single.mouse.click(stage["x"] + 0.9 * stage["width"], stage["y"] + stage["height"] / 2)
    assert single.locator(".split-at").evaluate("one => Number(one.value)") == pytest.approx(
        90, abs=1.5
    )
    after = pixels(single, "#v-stage")
    assert np.abs(after
                  - before)[:, int(0.55 * before.shape[1]) : int(0.85 * before.shape[1])].mean() > 3
    # the line has the focus, so this browses no images
    single.keyboard.press("ArrowLeft")
    assert single.locator(".split-at").evaluate("one => Number(one.value)") == pytest.approx(
        89.5, abs=1.5
    )
    assert single.locator("#v-place").inner_text() == "1 of 12"


def test_the_keyboard_opens_browses_changes_views_and_shuts(single: Any) -> None:
    cards = single.locator(".card")
    cards.first.focus()
    single.keyboard.press("ArrowRight")
    assert cards.nth(1).evaluate("one => one === document.activeElement")
    assert cards.nth(1).evaluate("one => getComputedStyle(one).outlineStyle") != "none"
    single.keyboard.press("Enter")
    first = opened(single)
    single.keyboard.press("ArrowRight")
    second = opened(single)
    assert second != first
    single.keyboard.press("ArrowLeft")
    assert opened(single) == first
    for key, title in (("2", "Errors"),
                       ("3", "Confidence"),
                       ("4", "Margin"),
                       ("5", "Flow 1"),
                       ("7", "Image"),
                       ("1", "Labels and predictions")):
        single.keyboard.press(key)
        assert single.locator(".v-tabs [aria-selected=true]").inner_text().startswith(title)
    single.keyboard.press("Escape")
    assert not single.locator("#viewer").evaluate("one => one.open")
    assert cards.nth(1).evaluate("one => one === document.activeElement")


def test_a_flow_is_shown_with_its_wheel_and_its_reach(single: Any) -> None:
    single.locator(".card").first.click()
    single.keyboard.press("5")
    settled(single)
    assert single.locator("#v-legend img").evaluate("one => one.naturalWidth") > 50
    assert "the rim of the wheel is" in single.locator("#v-legend").inner_text()
    # colors, not gray
    assert pixels(single, "#v-stage").std(axis=2).mean() > 5


def test_what_is_under_the_pointer_is_named(single: Any) -> None:
    single.locator(".card").first.click()
    settled(single)
    stage = single.locator("#v-stage").bounding_box()
    # the void corner
    single.mouse.move(stage["x"] + stage["width"] / 16, stage["y"] + stage["height"] / 12)
    expect(single.locator("#v-probe")).to_have_text(re.compile("^label: ignored · prediction: "))


def test_the_filter_shows_the_images_of_a_class_by_its_iou(single: Any) -> None:
    shown_cards = single.locator(".cards li:not([hidden]) .score")
    assert shown_cards.count() == 12
    # the fourth class, in every other image
    single.locator("#class").select_option(label="Road")
    assert single.locator("#shown").inner_text() == "6 images"
    ious = [float(text) for text in shown_cards.all_inner_texts()]
    assert len(ious) == 6 and ious == sorted(ious)
    assert "Bicyclist" not in single.locator("#class").inner_text()
    single.locator("#class").select_option("")
    single.locator(".segments label", has_text="Best").click()
    assert single.locator("#shown").inner_text() == "4 images"
    single.locator(".cards li:not([hidden]) .card").first.click()
    assert single.locator("#v-place").inner_text() == "1 of 4"


def test_the_confusion_matrix_tells_counts_on_hover_and_on_focus(single: Any) -> None:
    cells = single.locator(".matrix tbody td")
    cells.nth(1).hover()
    said = single.locator("#cell").inner_text()
    assert "of Sky is predicted as Building" in said and "pixels" in said
    cells.first.focus()
    single.keyboard.press("ArrowDown")
    single.keyboard.press("ArrowRight")
    assert "of Building is predicted correctly" in single.locator("#cell").inner_text()
    assert single.locator(".matrix [tabindex='0']").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_system_chooses_light_or_dark_and_the_button_the_other(chromium: Any, scored: Any,
                                                                   scheme: str) -> None:
    def brightness(tab: Any) -> float:
        return float(pixels(tab, ".head").mean())

    with shown(chromium, scored.single, color_scheme=scheme) as tab:
        first = brightness(tab)
        tab.locator("#theme").click()
        second = brightness(tab)
    assert (first > 200 and second < 60) if scheme == "light" else (first < 60 and second > 200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Any, scored: Any, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5 to 1, of the ink and of the faint text."""
    script = """(name) => {
        const probe = document.createElement('i');
        probe.style.color = `var(${name})`;
        document.body.append(probe);
        return getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
    }"""

    with shown(chromium, scored.single, color_scheme=scheme) as tab:
        ink = {name: luminance(tab.evaluate(script, name))
               for name in ("--ink", "--muted", "--accent", "--paper", "--card")}
    for text in ("--ink", "--muted", "--accent"):
        for ground in ("--paper", "--card"):
            assert contrast(ink[text], ink[ground]) >= 4.5, (text, ground)


def luminance(rgb: list[float]) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
              for value in (channel / 255 for channel in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: float, b: float) -> float:
    dark, light = sorted((a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("color", ["rgb(0 0 142)", "rgb(0 0 0)", "rgb(255 255 255)",
                                   "rgb(255 255 0)", "rgb(220 20 60)"])
def test_the_bar_of_every_class_stands_out_from_its_ground(chromium: Any, scored: Any, scheme: str,
                                                           color: str) -> None:
    """WCAG 2.2, 1.4.11: a contrast of at least 3 to 1."""
    with shown(chromium, scored.single, color_scheme=scheme) as tab:
        tab.evaluate("""(color) => {
            const bar = document.querySelector(".meter");
            bar.style.cssText = `--c: ${color}; --at: 50`;
            bar.querySelector("b").remove();
        }""", color)
        bar = pixels(tab, ".meter >> nth=0")
    filled, empty = bar[len(bar) // 2, bar.shape[1] // 4], bar[len(bar) // 2, -5]
    # from OpenCV's order to RGB
    grounds = [luminance(list(side[::-1])) for side in (filled, empty)]
    assert contrast(*grounds) >= 3


def test_the_tab_that_a_key_chooses_is_in_view_on_a_phone(chromium: Any, scored: Any) -> None:
    with shown(chromium, scored.single) as tab:
        tab.set_viewport_size({"width": 360, "height": 740})
        tab.locator(".card").first.click()
        bar = tab.locator(".v-tabs").bounding_box()
        # the third time after another image was opened, with the same view
        for key in ("5", "1", "5", "ArrowRight"):
            tab.keyboard.press(key)
            chosen = tab.locator(".v-tabs [aria-selected=true]").bounding_box()
            assert chosen["x"] >= bar["x"] - 1
            assert chosen["x"] + chosen["width"] <= bar["x"] + bar["width"] + 1
        tab.keyboard.press("Escape")
        tab.locator(".card").nth(2).click()
        chosen = tab.locator(".v-tabs [aria-selected=true]").bounding_box()
        assert chosen["x"] + chosen["width"] <= bar["x"] + bar["width"] + 1


def test_two_models_are_compared_image_by_image(paired: Any) -> None:
    assert "permutation" in paired.locator("#scores").inner_text()
    assert paired.locator(".diverging").count() >= 4
    assert paired.locator("#training .chart .key").all_inner_texts() == ["A", "B"] * 3
    paired.locator(".matrix tbody td").nth(1).hover()
    assert re.search(r"points\s*Sky predicted as Building\s*A [\d.]+ %, B [\d.]+ %",
                     paired.locator("#cell").inner_text())
    paired.locator(".card").first.click()
    titles = paired.locator(".v-tabs button").all_inner_texts()
    assert titles == ["A and B", "Labels and A", "Labels and B", "Disagreement", "Image"]
    assert paired.locator("#v-score").inner_text().count("mean IoU") == 2
    paired.keyboard.press("4")
    assert "only A is right" in paired.locator("#v-legend").inner_text()


def test_a_narrow_window_shows_everything_without_scrolling_sideways(chromium: Any,
                                                                     scored: Any) -> None:
    with shown(chromium, scored.single) as tab:
        tab.set_viewport_size({"width": 420, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= 420
        tab.locator(".card").first.click()
        box = tab.locator("#v-stage").bounding_box()
        assert box["width"] > 250 and box["height"] > 150
