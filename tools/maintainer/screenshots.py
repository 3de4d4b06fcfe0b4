"""Pictures of a report, or of the app, for documents: `python -m tools.maintainer.screenshots PAGE --out FOLDER`."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import FlagParser, positive_int, size

if TYPE_CHECKING:
    from playwright.sync_api import Browser

UPLOAD = "#picture input[type=file]"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# resolves when the pictures of the image that is open can be seen
DECODED = "Promise.all([...document.querySelectorAll('#v-stage img[src]')].map((one) => one.decode())).then(() => null)"


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.screenshots", description="Take pictures of a report, or of the app.")
    parser.add_argument("page", help="the .html file of a report, or the address at which python -m tools.app runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="where light.png, dark.png, matrix.png and image.png go; of the app classes.png, "
                             "flow_fields.png and comparison.png")
    parser.add_argument("--picture", type=Path, help="what the app is given to parse")
    parser.add_argument("--size", type=size, default="860x1280", help="of the window, HEIGHTxWIDTH in pixels")
    parser.add_argument("--image", type=positive_int, default=1, help="which image of the gallery is opened, from 1 on")
    parser.add_argument("--view", type=positive_int, default=1, help="which view of it is shown, from 1 on")
    return parser


def find_browser() -> str | None:
    """Returns the path of the Chromium that is installed, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Gives a headless Chromium. Raises FileNotFoundError where none is installed, ImportError without playwright.

    Args:
        flags: of Chromium's own.
    """
    from playwright.sync_api import sync_playwright
    path = find_browser()
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is installed (Debian and Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", *flags]                                    # root has no sandbox
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield opened
        finally:
            opened.close()


def take(opened: Browser, page: Path, out: Path, window: tuple[int, int], image: int, view: int) -> None:
    """Takes the pictures: the first screen in light and dark, the confusion matrix, and an image opened."""
    out.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        tab = opened.new_page(viewport={"width": window[1], "height": window[0]}, color_scheme=scheme)
        tab.goto(page.resolve().as_uri())
        tab.screenshot(path=out / f"{scheme}.png")
        if scheme == "light" and tab.locator("#confusion").count():
            tab.locator("#confusion").screenshot(path=out / "matrix.png")
    tab.locator(".card").nth(image - 1).click()
    tab.keyboard.press(str(view))
    tab.evaluate(DECODED)
    tab.screenshot(path=out / "image.png")


def take_app(opened: Browser, address: str, out: Path, window: tuple[int, int], picture: Path) -> None:
    """Takes a picture of each tab of the app but the camera's, with the pointer on the road of what is compared."""
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
        shown.locator("img").first.evaluate("one => one.decode()")
        for stage in shown.locator(".comparison .stage").all()[:1]:
            stage.hover(position={"x": 180, "y": 150})
        tab.screenshot(path=out / f"{button.inner_text().lower().replace(' ', '_')}.png")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        served = args.page.startswith("http:")
        if not served and not Path(args.page).is_file():
            raise FileNotFoundError(f"{args.page} is missing: python -m tools.report makes it")
        if served and not (args.picture and args.picture.is_file()):
            raise FileNotFoundError("the app needs a --picture to parse, and "
                                    + (f"{args.picture} is missing" if args.picture else "none is given"))
        with browser() as opened:
            if served:
                take_app(opened, args.page, args.out, args.size, args.picture)
            else:
                take(opened, Path(args.page), args.out, args.size, args.image, args.view)
    except ImportError as error:
        print(f"tools.maintainer.screenshots: error: {error}: it comes with pip install '.[test]'", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tools.maintainer.screenshots: error: {error}", file=sys.stderr)
        return 2
    print(f"pictures of {args.page} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
