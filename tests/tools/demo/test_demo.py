from __future__ import annotations

import io
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tests.tools.demo.conftest import picture
from tools.demo import __main__ as demo
from tools.demo import frames
from tools.demo.frames import Clip, VideoFile

SPEC = datasets.spec("camvid")


def run(snapshot: Path, out: Path, *inputs: Path | str) -> int:
    return demo.main(["--snapshot", str(snapshot), "--out", str(out), "--input", *map(str, inputs)])


def test_each_picture_of_a_folder_becomes_overlay_mask_and_ids(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deeper").mkdir(parents=True)
    picture(folder / "a.png", 33, 47)
    picture(folder / "B.JPG", 40, 150)
    picture(folder / "deeper" / "c.png")
    (folder / "notes.txt").write_text("no picture")
    assert run(snapshot, out, folder) == 0
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        f"{kind}/{name}.png"
        for kind in ("overlays", "colour_masks", "label_ids")
        for name in ("a", "B")
    }
    ids = cv2.imread(str(out / "label_ids" / "a.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(out / "colour_masks" / "a.png"))[..., ::-1]
    overlay = cv2.imread(str(out / "overlays" / "a.png"))
    assert ids.shape == (33, 47)
    assert np.array_equal(SPEC.palette[ids], mask)
    # enlarged to be looked at
    assert overlay.shape[1] == 9 * 47
    # the legend stands below
    assert overlay.shape[0] > 9 * 33
    assert "2 of 2 images in" in capsys.readouterr().out


def test_confidence_is_written_beside_the_same_classes(snapshot: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 40, 60)
    assert run(snapshot, tmp_path / "plain", path) == 0
    flags = ["--snapshot", str(snapshot), "--input", str(path), "--out", str(tmp_path / "sure"),
             "--confidence"]
    assert demo.main(flags) == 0
    ids = [cv2.imread(str(tmp_path / folder / "label_ids/a.png"), cv2.IMREAD_UNCHANGED)
           for folder in ("plain", "sure")]
    assert np.array_equal(*ids)
    panels = cv2.imread(str(tmp_path / "sure/confidence/a.png"))
    # the image and two maps beside each other, each enlarged to at least 384 pixels
    assert panels.shape[1] > 3 * 384
    assert not (tmp_path / "plain/confidence").exists()


def test_a_corrupt_picture_is_named_and_skipped(snapshot: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = picture(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:500])
    assert run(snapshot, tmp_path / "out", tmp_path) == 1
    output = capsys.readouterr()
    assert "bad.png is truncated or damaged" in output.err
    assert "1 of 2 images" in output.out
    assert "1 skipped" in output.out


def test_nothing_but_corrupt_pictures_is_a_failure(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(snapshot, tmp_path / "out", tmp_path / "bad.png") == 1


def test_mistakes_end_with_a_message(snapshot: Path, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.pth", tmp_path / "out", picture(tmp_path / "a.png")) == 2
    assert "tools.demo: error: no weights at" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused(snapshot: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    assert run(snapshot, image / "out", image) == 2
    assert ("a.png/out cannot be made (Not a directory): name another folder"
            in capsys.readouterr().err)


def film(path: Path, count: int = 5, height: int = 48, width: int = 64, fps: float = 10) -> Path:
    rng = np.random.default_rng(0)
    with VideoFile(path, fps) as file:
        for _ in range(count):
            file.write(rng.integers(0, 256, (height, width, 3), np.uint8))
    return path


def frames_in(path: Path) -> tuple[int, float]:
    capture = cv2.VideoCapture(str(path))
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)


def test_a_video_becomes_videos_of_the_same_length_and_label_ids(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = ["--write", *demo.KINDS, "--dump_flow"]
    assert demo.main(["--snapshot", str(snapshot), "--out", str(out), "--input",
                      str(film(tmp_path / "a.mp4")), *flags]) == 0
    for kind in ("overlays", "colour_masks", "side_by_side", "flows"):
        assert frames_in(out / kind / "a.mp4") == (5, 10.0)
    ids = sorted((out / "label_ids/a").iterdir())
    assert [path.name for path in ids] == [f"{i:06}.png" for i in range(5)]
    assert cv2.imread(str(ids[0]), cv2.IMREAD_UNCHANGED).shape == (48, 64)
    output = capsys.readouterr().out
    assert "5 of 5 frames of a in" in output
    speeds = re.findall(r", ([\d.]+) images/s with reading and writing, ([\d.]+) without", output)
    with_files, alone = map(float, speeds[0])
    assert alone > with_files > 0


def test_a_damaged_video_is_named_and_the_next_one_is_parsed(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = film(tmp_path / "good.mp4"), tmp_path / "bad.mp4"
    # an MP4's index stands at its end
    bad.write_bytes(good.read_bytes()[:3000])
    assert run(snapshot, tmp_path / "out", bad, good) == 1
    output = capsys.readouterr()
    assert "bad.mp4 is damaged, cut off, or no video" in output.err
    assert frames_in(tmp_path / "out/overlays/good.mp4")[0] == 5


def test_a_pipe_of_pictures_becomes_a_video(snapshot: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(tmp_path / "a.jpg").read_bytes() + picture(tmp_path / "b.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert demo.main(["--snapshot", str(snapshot), "--out", str(tmp_path / "out"), "--input", "-",
                      "--stdin_fps", "5"]) == 0
    assert frames_in(tmp_path / "out/overlays/stdin.mp4") == (2, 5.0)


def test_what_comes_live_plays_at_the_speed_of_its_clock(snapshot: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((32, 32, 3), np.uint8)

    def late() -> Iterator[np.ndarray]:
        for _ in range(3):
            time.sleep(0.2)
            yield image

    monkeypatch.setattr(frames, "camera", lambda number, name: Clip(name, late(), 20.0, live=True))
    assert run(snapshot, tmp_path / "out", "camera:0") == 0
    assert frames_in(tmp_path / "out/overlays/camera0.mp4")[0] >= 0.6 * 20 - 1


def test_an_input_that_fails_does_not_stop_the_others(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, original = tmp_path / "out", VideoFile.write

    def write(self: VideoFile, picture: np.ndarray, times: int = 1) -> None:
        if self.path.stem == "b":
            raise OSError(f"{self.path}: this OpenCV cannot write it")
        original(self, picture, times)

    inputs = [film(tmp_path / f"{name}.mp4") for name in "abc"]
    monkeypatch.setattr(VideoFile, "write", write)
    assert run(snapshot, out, "camera:77", *inputs) == 2
    for name in "ac":
        assert frames_in(out / f"overlays/{name}.mp4")[0] == 5
    output = capsys.readouterr().err
    assert "camera 77 is missing" in output and "b.mp4: this OpenCV cannot write it" in output


def test_a_dangling_link_in_a_folder_is_named_and_skipped(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture(folder / "a.bmp")
    for name in ("b.jpg", "c.mp4"):
        (folder / name).symlink_to(tmp_path / "nowhere")
    assert run(snapshot, tmp_path / "out", folder) == 1
    assert (tmp_path / "out/overlays/a.png").is_file()
    output = capsys.readouterr().err
    assert "b.jpg cannot be read" in output and "c.mp4 cannot be read" in output


def test_a_camera_that_is_not_there_is_an_error(snapshot: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert run(snapshot, tmp_path / "out", "camera:77") == 2
    assert "camera 77 is missing, or another program uses it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_pipe_is_told(snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert run(snapshot, tmp_path / "out", "-") == 1
    assert "stdin has no frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_video_that_cannot_be_written_is_an_error(snapshot: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file")
    assert run(snapshot, tmp_path / "out", film(tmp_path / "a.mp4")) == 2
    assert str(tmp_path / "out") in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_plays(snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    stop: signal.Signals) -> None:
    original = demo.Demo.predict

    def predict(self: demo.Demo, image: np.ndarray, tally: demo.Tally) -> np.ndarray:
        if len(tally.seconds) == 2:
            signal.raise_signal(stop)
        return original(self, image, tally)

    monkeypatch.setattr(demo.Demo, "predict", predict)
    assert run(snapshot, tmp_path / "out", film(tmp_path / "a.mp4")) == 128 + stop
    assert frames_in(tmp_path / "out/overlays/a.mp4")[0] == 3


def test_a_network_without_flow_alignment_has_no_flow_to_show(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.pth"
    torch.save({"arch": "fpn_dfnetv1", "dataset": "camvid", "classes": list(SPEC.names),
                "state_dict": published_state_dict(network.build("fpn_dfnetv1", SPEC.num_classes))},
               plain)
    assert demo.main(["--snapshot", str(plain), "--out", str(tmp_path), "--input",
                      str(picture(tmp_path / "a.png")), "--dump_flow"]) == 2
    assert "no flow alignment: leave --dump_flow out" in capsys.readouterr().err


def test_other_classes_than_the_snapshots_are_refused(snapshot: Path, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--snapshot", str(snapshot), "--out", str(tmp_path), "--input",
             str(picture(tmp_path / "a.png"))]
    assert demo.main([*flags, "--dataset", "cityscapes"]) == 2
    assert "but cityscapes has 19 classes" in capsys.readouterr().err


def test_an_image_of_a_camera_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 20, 30)
    # an EXIF block (big-endian TIFF) of one entry: tag 0x112 orientation, type 3 short, count 1,
    # value 6 (turn right)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert datasets.read_image(path, upright=True).shape == (30, 20, 3)


def test_the_shipped_network_runs_without_further_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    photograph = picture(tmp_path / "a.jpg", 90, 120)
    assert demo.main(["--input", str(photograph), "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert "sfnet_lite_efflite0_camvid.safetensors: CC BY-NC 4.0" in output
    ids = cv2.imread(str(tmp_path / "out" / "label_ids" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert ids.shape == (90, 120)
    assert ids.max() < SPEC.num_classes


def test_without_timm_one_line_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    photograph = picture(tmp_path / "a.jpg")
    assert demo.main(["--input", str(photograph), "--out", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.strip().splitlines()
    assert len(last) == 1
    assert "pip install" in last[0]
    assert "timm" in last[0]
