"""Pictures of a report's page, for documents: `python -m tools.screenshots PAGE --out FOLDER`. Needs Chromium."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils.flags import FlagParser, positive_int, size

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# resolves when the pictures of the image that is open can be seen
DECODED = "Promise.all([...document.querySelectorAll('#v-stage img[src]')].map((one) => one.decode())).then(() => null)"


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.screenshots", description="Take pictures of a report.")
    parser.add_argument("page", type=Path, help="the .html file of a report")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="where light.png, dark.png, matrix.png and image.png go")
    parser.add_argument("--size", type=size, default="860x1280", help="of the window, HEIGHTxWIDTH in pixels")
    parser.add_argument("--image", type=positive_int, default=1, help="which image of the gallery is opened, from 1 on")
    parser.add_argument("--view", type=positive_int, default=1, help="which view of it is shown, from 1 on")
    return parser


def find_browser() -> str | None:
    """Returns the path of the Chromium that is installed, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Gives a headless Chromium. Raises FileNotFoundError where none is installed, ImportError without playwright."""
    from playwright.sync_api import sync_playwright
    path = find_browser()
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is installed (Debian and Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])     # root has no sandbox
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


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        if not args.page.is_file():
            raise FileNotFoundError(f"{args.page} is missing: python -m tools.report makes it")
        with browser() as opened:
            take(opened, args.page, args.out, args.size, args.image, args.view)
    except ImportError as error:
        print(f"tools.screenshots: error: {error}: it comes with pip install '.[test]'", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tools.screenshots: error: {error}", file=sys.stderr)
        return 2
    print(f"pictures of {args.page} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
