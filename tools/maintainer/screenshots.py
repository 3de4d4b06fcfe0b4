"""Takes screenshots of a report, or of the app, for documents."""
from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import FlagParser, positive_int, run_program, size

if TYPE_CHECKING:
    from playwright.sync_api import Browser

UPLOAD = "#picture input[type=file]"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# JavaScript whose promise resolves when all layers of the open image are decoded
DECODED = ("Promise.all([...document.querySelectorAll('#v-stage img[src]')]"
           ".map((layer) => layer.decode())).then(() => null)")


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.screenshots",
                        description="Take screenshots of a report, or of the app.")
    parser.add_argument("page", help="the .html file of a report, or the address at which "
                                     "python -m tools.app runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="folder of the screenshots: light.png, dark.png, matrix.png and "
                             "image.png of a report; classes.png, flow_fields.png and "
                             "comparison.png of the app")
    parser.add_argument("--picture", type=Path, help="the image that the app predicts")
    parser.add_argument("--size", type=size, default="860x1280",
                        help="size of the window, HEIGHTxWIDTH in pixels")
    parser.add_argument("--image", type=positive_int, default=1,
                        help="number of the image of the gallery that is opened, from 1")
    parser.add_argument("--view", type=positive_int, default=1,
                        help="number of the view of that image, from 1")
    return parser


def find_browser() -> str | None:
    """Returns the path of the installed Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Opens a headless Chromium in a `with` block.

    Args:
        flags: command line flags of Chromium.

    Raises:
        FileNotFoundError: no Chromium is installed.
        ImportError: playwright is not installed.
    """
    from playwright.sync_api import sync_playwright
    path = find_browser()
    if path is None:
        raise FileNotFoundError(
            f"none of {', '.join(BROWSERS)} is installed (Debian and Ubuntu: apt install chromium)"
        )
    with sync_playwright() as playwright:
        # Chromium refuses to run its sandbox as root
        arguments = ["--no-sandbox", *flags]
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield opened
        finally:
            opened.close()


def take(opened: Browser, page: Path, out: Path, window: tuple[int, int], image: int,
         view: int) -> None:
    """Takes screenshots of a report: the first screen, the confusion matrix and an open image."""
    out.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        tab = opened.new_page(viewport={"width": window[1], "height": window[0]},
                              color_scheme=scheme)
        tab.goto(page.resolve().as_uri())
        tab.screenshot(path=out / f"{scheme}.png")
        if scheme == "light" and tab.locator("#confusion").count():
            tab.locator("#confusion").screenshot(path=out / "matrix.png")
    tab.locator(".card").nth(image - 1).click()
    tab.keyboard.press(str(view))
    tab.evaluate(DECODED)
    tab.screenshot(path=out / "image.png")


def take_app(opened: Browser, address: str, out: Path, window: tuple[int, int],
             picture: Path) -> None:
    """Takes a screenshot of each tab of the app but the camera.

    On the comparison, the pointer stands on the road.
    """
    out.mkdir(parents=True, exist_ok=True)
    tab = opened.new_page(viewport={"width": window[1], "height": window[0]}, color_scheme="light")
    tab.goto(address)
    tab.set_input_files(UPLOAD, picture)
    tab.wait_for_selector(".viewer .legend li")
    for button in tab.get_by_role("tab").all():
        button.click()
        shown = tab.locator(".viewer:visible")
        if shown.locator(".empty").count():
            continue
        shown.locator("img").first.evaluate("image => image.decode()")
        for stage in shown.locator(".comparison .stage").all()[:1]:
            stage.hover(position={"x": 180, "y": 150})
        tab.screenshot(path=out / f"{button.inner_text().lower().replace(' ', '_')}.png")


def run(args: Namespace) -> None:
    """Takes the screenshots of a report or of the app.

    Raises:
        ImportError: playwright is not installed.
        FileNotFoundError: the report or the image is missing, or there is no browser.
    """
    is_app = args.page.startswith("http:")
    if not is_app and not Path(args.page).is_file():
        raise FileNotFoundError(f"{args.page} is missing: python -m tools.report writes it")
    if is_app and args.picture is None:
        raise FileNotFoundError("the app needs a --picture to predict, and none is given")
    if is_app and not args.picture.is_file():
        raise FileNotFoundError(f"the app needs a --picture to predict, and {args.picture} is "
                                "missing")
    with browser() as opened:
        if is_app:
            take_app(opened, args.page, args.out, args.size, args.picture)
        else:
            take(opened, Path(args.page), args.out, args.size, args.image, args.view)
    print(f"screenshots of {args.page} in {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.screenshots", lambda: run(args), extra="test")


if __name__ == "__main__":
    sys.exit(main())
