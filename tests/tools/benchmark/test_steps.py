"""Steps without data are those of train.py."""
from __future__ import annotations

from pathlib import Path

import torch

import network
import train
from network.checkpoints.weights import published_state_dict
from tests.tiny_training import weights
from tools.benchmark.steps import Steps

FLAGS = ["--arch", "sfnet_dfnetv1", "--crop_size", "64x96", "--precision", "fp32"]


def test_steps_train_with_what_the_flags_ask_for() -> None:
    options = train.parse([*FLAGS, "--bs_mult", "2", "--accumulate", "2", "--fpn_dsn_loss",
                           "--ohem", "--ema_decay", "0.9", "--recompute", "--adamw"])
    steps = Steps(options, torch.device("cpu"))
    assert steps.batch["image"].shape == (4, 3, 64, 96)
    labels = steps.batch["label"]
    assert labels.shape == (4, 64, 96)
    # one label in each square of 64 pixels, a class or ignored
    assert len(labels[0, :, :64].unique()) == 1
    assert bool(((labels < 19) | (labels == 255)).all())
    before, averaged = weights(steps.net), weights(steps.ema.net)
    terms = steps.train_step(steps.batch).terms
    assert terms is not None and {"main", "aux0"} <= set(terms)
    steps.take(2)
    assert steps.progress.step == 2
    assert not torch.equal(weights(steps.net), before)
    assert not torch.equal(weights(steps.ema.net), averaged)


def test_steps_have_the_parts_that_only_the_training_has(tmp_path: Path) -> None:
    options = train.parse(FLAGS)
    teacher = network.build("sfnet_dfnetv1", options.data.spec.num_classes)
    torch.save({"arch": "sfnet_dfnetv1", "state_dict": published_state_dict(teacher)},
               tmp_path / "teacher.pth")
    options = train.parse([*FLAGS, "--bs_mult", "2", "--boundary_weight", "20", "--teacher",
                           str(tmp_path / "teacher.pth"), "--distill", "kl:1,feature:1"])
    for device in ("cpu", "meta"):
        steps = Steps(options, torch.device(device))
        before = weights(steps.net.training_heads)
        terms = steps.train_step(steps.batch).terms
        assert terms is not None and {"main", "boundary", "kl", "feature"} <= set(terms)
        if device == "cpu":
            assert not torch.equal(weights(steps.net.training_heads), before)


def test_the_optimizer_has_its_state_before_the_first_step() -> None:
    steps = Steps(train.parse(FLAGS), torch.device("meta"))
    steps.create_optimizer_state()
    parameters = list(steps.net.parameters())
    assert len(steps.optimizer.state) == len(parameters)
    assert all(parameter.grad is None for parameter in parameters)
