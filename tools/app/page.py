"""The page of the app, made of gradio's parts and the viewer beside this file; none of it comes
from elsewhere.
"""
from __future__ import annotations

import html
import logging
from pathlib import Path
from typing import Any

import gradio as gr

from tools.app import views
from tools.app.views import Model, Refused

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
SANS = (
    "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans",
    "Arial", "sans-serif",
)
TABS = (("Classes", "Upload a picture or take one with the camera: its classes appear here."),
        ("Flow fields", "The flow fields of the picture appear here."),
        ("Comparison", "Where the two networks differ appears here."))
LIVE = ("Live", "Start the camera and recording: the classes of what it sees appear here.")
LIVE_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
# between frames, at least; the next waits for an answer
LIVE_SECONDS = 0.05
# else a frame's flow fields get among a picture's
ONE_AT_A_TIME = "networks"


def build(models: list[Model], max_pixels: int) -> gr.Blocks:
    """Returns the page for one network, or for two that are compared."""

    def answer(given: dict[str, Any] | None) -> list[str]:
        """What the page says and shows of a picture that was handed in; of none, None."""
        nothing = [""] * (len(models) + 1)
        if given is None:
            return ["", *nothing]
        name = given.get("orig_name") or "The picture"
        try:
            said, values = views.parse(models, views.read(given["path"], name, max_pixels))
        except Refused as error:
            return [_message(str(error), bad=True), *nothing]
        except (RuntimeError, MemoryError) as error:
            # out of memory, for one
            log.exception("parsing %s failed", name)
            return [_message(f"{name} could not be parsed: {error}", bad=True), *nothing]
        return [_message(said), *values]

    def follow(frame: dict[str, Any] | None) -> list[str]:
        """What the page says and shows of a frame of the camera, which comes as a data URI."""
        if frame is None:
            return ["", ""]
        try:
            return ["", views.live(models[0], views.decode(frame.get("url") or "", max_pixels))]
        except Refused as error:
            return [_message(str(error), bad=True), ""]
        except (RuntimeError, MemoryError) as error:
            log.exception("parsing a frame of the camera failed")
            return [_message(f"The camera's frame could not be parsed: {error}", bad=True), ""]

    with gr.Blocks(title="SFSegNets", analytics_enabled=False, delete_cache=(600, 3600),
                   fill_width=True) as blocks:
        gr.HTML(_masthead(models), js_on_load=None, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                picture = gr.Image(
                    sources=["upload", "webcam"], type="filepath", label="Picture", height=280,
                    elem_id="picture", buttons=[], webcam_options=gr.WebcamOptions(mirror=False),
                )
                message = gr.HTML(js_on_load=None, padding=False)
            with gr.Column(scale=4, min_width=560), gr.Tabs():
                viewers = []
                for title, empty in TABS[:len(models) + 1]:
                    with gr.Tab(title):
                        viewers.append(_viewer(empty))
                with gr.Tab(LIVE[0]), gr.Row():
                    with gr.Column(scale=1, min_width=240):
                        camera = gr.Image(
                            sources=["webcam"], streaming=True, label="Camera", height=240,
                            elem_id="camera", buttons=[],
                            webcam_options=gr.WebcamOptions(mirror=False, constraints=LIVE_CAMERA),
                        )
                        trouble = gr.HTML(js_on_load=None, padding=False)
                    with gr.Column(scale=3, min_width=360):
                        seen = _viewer(LIVE[1])
        # not preprocessed: gradio would decode the picture before its size is known
        picture.change(
            answer, picture, [message, *viewers], preprocess=False, show_progress="minimal",
            concurrency_id=ONE_AT_A_TIME, api_visibility="private",
        )
        camera.stream(
            follow, camera, [trouble, seen], preprocess=False, show_progress="hidden",
            stream_every=LIVE_SECONDS, concurrency_id=ONE_AT_A_TIME, api_visibility="private",
        )
    return blocks


def launch(blocks: gr.Blocks, port: int, max_bytes: int) -> str:
    """Serves the page on this machine alone and returns its address; it is served until `close`.

    Raises:
        OSError: the port is taken.
    """
    css = (FOLDER / "viewer.css").read_text(encoding="utf-8")
    try:
        _, address, _ = blocks.launch(
            server_name="127.0.0.1", server_port=port, share=False, prevent_thread_lock=True,
            quiet=True, ssr_mode=False, max_file_size=max_bytes, theme=_theme(), css=css,
            footer_links=[], run_history=False, enable_monitoring=False, mcp_server=False,
            pwa=False, inbrowser=False,
        )
    except OSError as error:
        raise OSError(
            f"port {port} is taken, perhaps by another app: choose another with --port ({error})"
        ) from error
    return str(address)


def _viewer(empty: str) -> gr.HTML:
    return gr.HTML(
        "", html_template=f'<div class="viewer" data-empty="{html.escape(empty)}"></div>',
        js_on_load=(FOLDER / "viewer.js").read_text(encoding="utf-8"), apply_default_css=False,
    )


def _masthead(models: list[Model]) -> str:
    names = [f"<b>{html.escape(model.title)}</b>" for model in models]
    if len(names) == 2:
        names = [f"A: {names[0]}", f"B: {names[1]}"]
    spec, predictor = models[0].spec, models[0].predictor
    facts = [
        *names, f"classes of {html.escape(spec.title)}",
        f"{predictor.precision} on {predictor.device.type}",
    ]
    return f"<div class='masthead'><h1>What does the network see?</h1><p>{' &nbsp;·&nbsp; '.join(facts)}</p></div>"


def _message(text: str, bad: bool = False) -> str:
    return f'<div class="message{" bad" * bad}" role="status">{html.escape(text)}</div>'


def _theme() -> gr.themes.Base:
    """Returns a theme in the colors of the reports, with the fonts of the system: none is
    fetched.
    """
    theme = gr.themes.Base(
        primary_hue="teal", neutral_hue="stone", font=SANS, font_mono=("ui-monospace", "monospace"),
        radius_size="md",
    )
    return theme.set(
        body_background_fill="#fbfaf7", body_background_fill_dark="#14171a",
        block_background_fill="#ffffff", block_background_fill_dark="#1b1f23",
        block_border_color="#e3dfd7", block_border_color_dark="#2e343a",
        border_color_primary="#e3dfd7", border_color_primary_dark="#2e343a",
        body_text_color="#1d2125", body_text_color_dark="#e8e5de", block_shadow="none")
