"""The page of the app, built from gradio components and the viewer in this folder.

It loads nothing from other machines.
"""
from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from eval import LoadedModel
from tools.app import views
from tools.app.views import RejectedImage

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
SANS = (
    "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans",
    "Arial", "sans-serif",
)
# title and text of the empty viewer of each tab
TABS = (
    ("Classes", "Upload a picture or take one with the camera: its classes appear here."),
    ("Flow fields", "The flow fields of the picture appear here."),
    ("Confidence", "How sure the network is appears here."),
    ("Comparison", "Where the two networks differ appears here."),
)
LIVE = ("Live", "Start the camera and recording: the classes of what it sees appear here.")
LIVE_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
# least time between two frames; the next one also waits for the answer to the last
LIVE_SECONDS = 0.05
# Events of one concurrency id do not overlap. Otherwise the flow fields of a frame could be
# recorded among those of a picture.
CONCURRENCY = "networks"


def build(models: Sequence[LoadedModel], max_pixels: int) -> gr.Blocks:
    """Returns the page for one network, or for two that are compared."""
    options: dict[str, Any] = {
        # without preprocessing: gradio would decode the picture before its size is known
        "preprocess": False, "concurrency_id": CONCURRENCY, "api_visibility": "private",
    }
    with gr.Blocks(title="SFSegNets", analytics_enabled=False, delete_cache=(600, 3600),
                   fill_width=True) as blocks:
        gr.HTML(_masthead(models), js_on_load=None, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                picture = gr.Image(sources=["upload", "webcam"], type="filepath", label="Picture",
                                   height=280, elem_id="picture", buttons=[],
                                   webcam_options=gr.WebcamOptions(mirror=False))
                message = gr.HTML(js_on_load=None, padding=False)
            with gr.Column(scale=4, min_width=560), gr.Tabs():
                viewers = []
                for title, empty in TABS[:len(models) + 2]:
                    with gr.Tab(title):
                        viewers.append(_viewer(empty))
                with gr.Tab(LIVE[0]):
                    camera, live_outputs = _live_tab()
        picture.change(partial(predict_upload, models, max_pixels), picture, [message, *viewers],
                       show_progress="minimal", **options)
        camera.stream(partial(predict_frame, models[0], max_pixels), camera, live_outputs,
                      show_progress="hidden", stream_every=LIVE_SECONDS, **options)
    return blocks


def predict_upload(models: Sequence[LoadedModel], max_pixels: int,
                   upload: dict[str, Any] | None) -> list[str]:
    """Predicts an uploaded picture.

    Args:
        upload: gradio's file data; None if the picture was removed.

    Returns:
        The message, and the value of each viewer.
    """
    empty = [""] * (len(models) + 2)
    if upload is None:
        return ["", *empty]
    name = upload.get("orig_name") or "The picture"
    try:
        image = views.read(upload["path"], name, max_pixels)
        summary, values = views.predict_views(models, image)
    except RejectedImage as error:
        return [_message(str(error), bad=True), *empty]
    # RuntimeError covers an accelerator that is out of memory
    except (RuntimeError, MemoryError) as error:
        log.exception("predicting %s failed", name)
        return [_message(f"{name} could not be predicted: {error}", bad=True), *empty]
    return [_message(summary), *values]


def predict_frame(model: LoadedModel, max_pixels: int, frame: dict[str, Any] | None) -> list[str]:
    """Predicts a frame of the camera, which arrives as a data URI; None while it is off.

    Returns:
        The message and the value of the live viewer.
    """
    if frame is None:
        return ["", ""]
    try:
        return ["", views.live(model, views.decode(frame.get("url") or "", max_pixels))]
    except RejectedImage as error:
        return [_message(str(error), bad=True), ""]
    except (RuntimeError, MemoryError) as error:
        log.exception("predicting a frame of the camera failed")
        return [_message(f"The camera's frame could not be predicted: {error}", bad=True), ""]


def launch(blocks: gr.Blocks, port: int, max_bytes: int) -> str:
    """Serves the page to this machine only, until `blocks.close`, and returns its address.

    Raises:
        OSError: the port is taken.
    """
    css = (FOLDER / "viewer.css").read_text(encoding="utf-8")
    try:
        _, address, _ = blocks.launch(server_name="127.0.0.1", server_port=port, share=False,
                                      prevent_thread_lock=True, quiet=True, ssr_mode=False,
                                      max_file_size=max_bytes, theme=_theme(), css=css,
                                      footer_links=[], run_history=False, enable_monitoring=False,
                                      mcp_server=False, pwa=False, inbrowser=False)
    except OSError as error:
        raise OSError(
            f"port {port} is taken, perhaps by another app: choose another with --port ({error})"
        ) from error
    return str(address)


def _live_tab() -> tuple[gr.Image, list[gr.HTML]]:
    """Returns the camera, and the message and the viewer of its frames."""
    options = gr.WebcamOptions(mirror=False, constraints=LIVE_CAMERA)
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            camera = gr.Image(sources=["webcam"], streaming=True, label="Camera", height=240,
                              elem_id="camera", buttons=[], webcam_options=options)
            message = gr.HTML(js_on_load=None, padding=False)
        with gr.Column(scale=3, min_width=360):
            viewer = _viewer(LIVE[1])
    return camera, [message, viewer]


def _viewer(empty: str) -> gr.HTML:
    return gr.HTML(
        "", html_template=f'<div class="viewer" data-empty="{html.escape(empty)}"></div>',
        js_on_load=(FOLDER / "viewer.js").read_text(encoding="utf-8"), apply_default_css=False,
    )


def _masthead(models: Sequence[LoadedModel]) -> str:
    names = [f"<b>{html.escape(views.title(model))}</b>" for model in models]
    if len(names) == 2:
        names = [f"A: {names[0]}", f"B: {names[1]}"]
    spec, predictor = models[0].spec, models[0].predictor
    facts = " &nbsp;·&nbsp; ".join([*names, f"classes of {html.escape(spec.title)}",
                                    f"{predictor.precision} on {predictor.device.type}"])
    return f"<div class='masthead'><h1>What does the network see?</h1><p>{facts}</p></div>"


def _message(text: str, bad: bool = False) -> str:
    kind = "message bad" if bad else "message"
    return f'<div class="{kind}" role="status">{html.escape(text)}</div>'


def _theme() -> gr.themes.Base:
    """Returns a theme in the colors of the reports. It uses the fonts of the system only."""
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="stone", font=SANS,
                           font_mono=("ui-monospace", "monospace"), radius_size="md")
    return theme.set(body_background_fill="#fbfaf7", body_background_fill_dark="#14171a",
                     block_background_fill="#ffffff", block_background_fill_dark="#1b1f23",
                     block_border_color="#e3dfd7", block_border_color_dark="#2e343a",
                     border_color_primary="#e3dfd7", border_color_primary_dark="#2e343a",
                     body_text_color="#1d2125", body_text_color_dark="#e8e5de", block_shadow="none")
