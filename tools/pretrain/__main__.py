"""Trains a backbone as a classifier: `python -m tools.pretrain --arch resnet18 --data_root DIR`.

The loop and the step are those of `train.Training`: an image is a label map of one pixel.
"""
from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import loss
import optimizer
import train
from network.checkpoints.paths import PRETRAINED
from network.checkpoints.sources import backbone_of
from network.registry import names
from tools.pretrain import classifier, images
from tools.pretrain.accuracy import Accuracy
from tools.pretrain.classifier import ClassifierOptions
from tools.pretrain.images import ImageOptions
from utils import batches, cli, distributed, precision
from utils.evaluation.evaluator import load_batches
from utils.training import options as flag_rules
from utils.training.run_folder import log_replaced
from utils.training.validation import evenly_spaced, load_share, select_weights

log = logging.getLogger("train")

PROGRAM = "-m tools.pretrain"
NO_LABEL = -1                   # every image has a label
COMMON_FLAGS = ("arch", "data_root", "val_fraction", "out", "crop_size", "global_batch", "bs_mult",
                "lr", "max_epoch", "precision", "exp", "resume")
# The habits of timm for small convolutional networks: five epochs of warm-up and a cosine, 100 in
# all. Without --lr, the rate is that of `RATES`.
RECIPE = {
    "optimizer": "sgd", "lr": None, "weight_decay": 1e-4, "lr_schedule": "cosine",
    "warmup_steps": 0.05, "max_epoch": 100, "global_batch": 256, "ema_decay": 0.9999,
    "eval_epoch": 1, "eval_every": 1, "bs_mult_val": 64,
}
# optimizer -> rate for a global batch of 256 images, to which it is proportional
RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}


@dataclass(frozen=True)
class Options(train.LoopOptions):
    """The options of a run: those of the loop, of the images and of the classifier."""

    data: ImageOptions
    classifier: ClassifierOptions

    @property
    def out(self) -> Path:
        """The file to write; that of a trial with `--test_mode` stays in the run's folder."""
        path = self.classifier.path
        is_trial = self.run.test_mode and self.classifier.out is None
        return self.run.folder / path.name if is_trial else path


class Pretraining(train.Training):
    """The training of a backbone as a classifier."""

    program = PROGRAM
    # other classes than those of a segmentation network
    options: Any
    data: Any

    def __init__(self, options: Options) -> None:
        super().__init__(options)  # type: ignore[arg-type]

    def build_criterion(self) -> None:
        options = self.options
        self.spec = options.data.find_classes(options.run.seed)
        self.criterion = loss.CrossEntropy(
            NO_LABEL, label_smoothing=options.classifier.label_smoothing)

    def build_network(self, state: dict[str, Any] | None) -> str:
        self.net = classifier.build(self.options.classifier.arch, self.spec.num_classes)
        return (f"going on from step {state['step']}" if state
                else "starting at step 0 from random weights")

    def build_data(self) -> None:
        options, sizes = self.options, self.options.batching.sizes
        self.data = options.data.build(
            self.spec, seed=options.run.seed, batch_size=sizes.bs_mult * sizes.accumulate,
            rank=distributed.rank(), world_size=distributed.world_size())

    def find_data_problems(self) -> Sequence[str]:
        return ()

    def build_validator(self) -> None:
        self.validated_nets = select_weights(self.options.validation.eval_weights, self.nets)

    def evaluate(self) -> float:
        results = {weights: self.accuracy(net, weights)
                   for weights, net in self.validated_nets.items()}
        best = max(results, key=lambda weights: results[weights].top1)
        step, result = self.progress.step, results[best]
        self.log.write("validation", step, epoch=self.intervals.epoch(step), weights=best,
                       top1=result.top1, top5=result.top5)
        for weights, accuracy in results.items():
            log.info("validation after step %d: top-1 %.2f %%, top-5 %.2f %% on %d images (%s "
                     "weights)", step, 100 * accuracy.top1, 100 * accuracy.top5, accuracy.images,
                     weights)
        return result.top1

    def accuracy(self, net: nn.Module, weights: str) -> Accuracy:
        """Returns the accuracy of a network on the validation images, over all processes."""
        options = self.options
        if not options.batching.syncbn:
            distributed.copy_buffers_from_main(net)
        net.eval()
        indices = evenly_spaced(len(self.data.val_set), options.validation.eval_images)
        loader, count = load_share(self.data.load_validation, indices, self.interrupts)
        accuracy = Accuracy(self.device)
        for batch in load_batches(loader, total=count, description=f"validation, {weights} weights",
                                  images_per_batch=options.validation.bs_mult_val):
            ready = batches.prepare(batch, self.device, *self.net.normalization,
                                    channels_last=options.precision.channels_last)
            with torch.inference_mode(), precision.autocast(self.device, self.precision):
                logits = net(ready["image"], upsample=False)["main"]
            accuracy.add(logits[:, :, 0, 0], ready["label"][:, 0, 0])
        accuracy.all_reduce()
        return accuracy

    def open_folder(self) -> None:
        """Opens the run's folder. Raises FileExistsError if the end would overwrite a file."""
        if self.progress.step < self.intervals.total_steps:
            check_free(self.options.out)
        super().open_folder()

    def finish(self) -> None:
        """Writes the backbone: the weights of `--eval_weights`, the averaged ones of both.

        A run that was finished before it was resumed leaves the file that is there.
        """
        log_replaced(sum(distributed.gather(self.data.loader.skipped.total())))
        if not self.is_main:
            return
        arch, path, step = self.options.classifier.arch, self.options.out, self.progress.step
        if path.exists():
            log.info("Done: %d steps. %s exists and stays as it is: to write the backbone again, "
                     "remove it, or give another file by --out", step, path)
            return
        weights, net = list(self.validated_nets.items())[-1]
        top1 = self.progress.mean_iu if len(self.validated_nets) == 1 else None
        classifier.write_backbone(path, net, backbone=arch, classes=list(self.spec.names),
                                  step=step, weights=weights, top1=top1)
        users = (name for name in names() if backbone_of(name) == arch)
        log.info("Done: %d steps. The backbone is in %s; start from it with: python train.py "
                 "--arch %s --pretrained %s", step, path, next(users, f"sfnet_{arch}"),
                 "auto" if path == PRETRAINED / path.name else path)


def build_parser() -> cli.FlagParser:
    parser = cli.FlagParser(prog=f"python {PROGRAM}", common=COMMON_FLAGS,
                            description="Train a backbone as a classifier of images: 100 epochs, "
                                        "256 images a step, at a rate of 0.1 (--adamw: 0.001).")
    for package in (images, classifier, optimizer):
        package.add_flags(parser)
    flag_rules.add_flags(parser, scenes=False)
    parser.set_defaults(**RECIPE)
    return parser


def parse(argv: Sequence[str] | None = None) -> Options:
    """Reads the command line; its flags win over those of a resumed run."""
    parser = build_parser()
    try:
        args, origins = flag_rules.resolve_flags(parser, argv, default_name, set_dependent_flags)
        options: Options = Options.from_args(args)
        check_flags(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if options.run.print_config:
        print(flag_rules.format_flags(args, origins))
    return options


def default_name(flags: dict[str, Any]) -> str:
    """Returns the name of a run without `--exp`."""
    folder = Path(flags["data_root"] or "images").resolve().name
    return f"{folder}_{flags['arch']}".replace(":", "_")


def set_dependent_flags(args: Namespace) -> None:
    """Sets the flags whose default depends on other flags, in place."""
    flag_rules.set_batch_sizes(args)
    if args.lr is None:
        args.lr = RATES[args.optimizer] * args.global_batch / 256


def check_flags(options: Options) -> None:
    """Raises ValueError or OSError if flags exclude each other, or a file would be overwritten."""
    if options.schedule.restarts:
        raise ValueError(f"--lr_schedule {options.schedule.lr_schedule} restarts where the labels "
                         "of a boundary are no longer relaxed, and a classifier has none: choose "
                         "another")
    if not options.run.resume:
        check_free(options.out)
    if options.run.print_config:
        options.check_machine()


def check_free(path: Path) -> None:
    """Raises FileExistsError if the backbone would be written over a file."""
    if path.exists():
        raise FileExistsError(f"{path} exists, and the backbone would be written there: remove it "
                              "first, or give another file by --out")


def run(options: Options) -> int:
    """Trains; returns the exit code."""
    return train.run_loop(partial(Pretraining, options), options.batching.timeout)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if options.run.print_config:
        return 0
    return cli.run_program("tools.pretrain", partial(run, options), resume=flag_rules.RESUME_HINT,
                           less_memory=flag_rules.LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
