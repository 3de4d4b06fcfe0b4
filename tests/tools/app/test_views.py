from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest
import torch

import network
from eval import LoadedModel
from network.normalization import IMAGENET
from tests.tools.app.conftest import SPEC
from tools.app import views
from utils.evaluation.predictor import Predictor


def test_a_frame_of_the_camera_that_is_too_large_or_damaged_is_rejected() -> None:
    frame = cv2.imencode(".png", np.full((4, 6, 3), (1, 2, 3), np.uint8))[1].tobytes()
    uri = "data:image/png;base64," + base64.b64encode(frame).decode()
    assert views.decode(uri, 24)[0, 0].tolist() == [3, 2, 1]
    message = "gives 6 × 4 pixels, more than the 23 that are accepted here"
    with pytest.raises(views.RejectedImage, match=message):
        views.decode(uri, 23)
    for damaged in (uri[:40] + "AAAA", "data:image/png;base64,", "data:image/png;base64,§"):
        with pytest.raises(views.RejectedImage, match="The camera's frame is damaged"):
            views.decode(damaged, 24)


def test_a_network_without_flow_alignment_has_no_flow_fields(models: list[LoadedModel]) -> None:
    net = network.build("fpn_dfnetv1", SPEC.num_classes).eval()
    predictor = Predictor(net, torch.device("cpu"), "fp32", *IMAGENET)
    plain = models[0]._replace(net=net, predictor=predictor)
    summary, values = views.predict_views([plain], np.zeros((64, 64, 3), np.uint8))
    view = json.loads(values[1])
    assert view["fields"] == []
    assert "no flow alignment" in view["note"]
    assert summary.startswith("64 × 64 pixels, predicted in")


def test_confidence_is_that_of_the_classes_that_are_shown(models: list[LoadedModel]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    labels, maps = views.predict_confidence(models[0], image)
    assert np.array_equal(labels, views.predict(models[0], image))
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    largest = models[0].predictor.probabilities(batch)[0].amax(0).numpy()
    assert np.allclose(maps["probability"], largest, atol=1e-4)
    view = views.confidence_maps(image, maps)
    assert [field["title"].split(":")[0] for field in view["fields"]] == [
        "Probability of the class", "Margin to the second class"]


def test_a_comparison_counts_the_pixels_of_each_pair_of_classes(models: list[LoadedModel]) -> None:
    # 8 pixels: 3 are class 1 for A and class 2 for B, 1 is class 0 for A and class 3 for B
    a = np.array([[1, 1, 1, 0], [5, 5, 5, 5]], np.uint8)
    b = np.array([[2, 2, 2, 3], [5, 5, 5, 5]], np.uint8)
    view = views.comparison(np.zeros((2, 4, 3), np.uint8), [a, b], models)
    assert view["pairs"] == [{"a": 1, "b": 2, "share": 3 / 8}, {"a": 0, "b": 3, "share": 1 / 8}]
    assert view["share"] == 0.5
    assert view["titles"] == [views.title(model) for model in models]
