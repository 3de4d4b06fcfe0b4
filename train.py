"""Trains a scene parsing network: parse, build, loop, save. `python train.py --help` lists the flags."""
from __future__ import annotations

import logging
import math
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import datasets
import loss
import network
import optimizer
import transforms
from utils import checkpoint, distributed, precision, runs, visualize
from utils.batches import denormalise, prepare
from utils.ema import Ema
from utils.flags import FlagParser, add_switch, positive_int
from utils.interrupts import Interrupted, Interrupts
from utils.logs import RunLog, Window, start_logging
from utils.predictor import Predictor
from utils.scoring import score, share

log = logging.getLogger("train")

RETIRED = {
    "--local_rank": "torchrun, which tells each process its rank", "--start_epoch": "--resume logs/NAME",
    "--trunk": "--arch", "--tb_tag": "--exp", "--dataset_dir": "--data_root", "--hardnm": "--ohem",
    "--pre_size": "--crop_size with --scale_min and --scale_max", "--batch_size": "--bs_mult",
    "--epochs": "--max_epoch",
    "--amsgrad": "--adam", "--crop_nopad": "--crop_size (a smaller image is padded and the padding ignored)",
}
# on --resume; anything else would be another run
MAY_CHANGE = {"resume", "num_workers", "val_split", "log_every", "eval_epoch", "eval_every", "checkpoint_every", "keep",
              "data_root", "packed", "on_bad_sample", "cache_dir", "dump_augmentation_images", "test_mode",
              "print_config"}

DUMPED_STEPS = 4


def build_parser() -> FlagParser:
    parser = FlagParser(prog="train.py", description="Train a scene parsing network.", retired=RETIRED)
    datasets.add_flags(parser)
    transforms.add_flags(parser)
    model = parser.add_argument_group("Model")
    model.add_argument("--arch", default="sfnet_resnet18", help=f"one of: {', '.join(network.names())}, "
                       "or sfnet_timm:MODEL, sfnet_lite_timm:MODEL on a backbone of timm")
    add_switch(model, "--fpn_dsn_loss", default=False, help="deep supervision: an auxiliary loss at each level")
    network.add_option_flags(model)
    model.add_argument("--pretrained", default="auto", help="ImageNet weights of the backbone: auto (its file in "
                       "pretrained_models/; timm fetches its own), none (random weights) or a path")
    model.add_argument("--snapshot", help="start from this checkpoint's weights (fine-tuning; to go on, use --resume)")
    add_switch(model, "--reset_classifier", default=False, help="with --snapshot: start the classifier anew")
    add_switch(model, "--init_aux", default=False, help="with --snapshot: auxiliary heads it lacks start anew")
    add_switch(model, "--fix_bn", default=False, help="batch norms keep their statistics, scale and shift")
    add_switch(model, "--freeze_backbone", default=False, help="train the head alone, on the backbone as it was loaded")
    loss.add_flags(parser)
    optimizer.add_flags(parser)
    precision.add_flags(parser)
    run = parser.add_argument_group("Runtime")
    run.add_argument("--exp", help="name of the run's folder (default: DATASET_ARCH)")
    run.add_argument("--ckpt", default="logs", help="folder under which run folders are made")
    run.add_argument("--tb_path", help="folder of the TensorBoard files (default: tb/ in the run's folder)")
    run.add_argument("--resume", help="folder of a run: go on exactly where it stopped, with its own flags")
    run.add_argument("--seed", type=int, default=0, help="of the weights, the order and the augmentation")
    run.add_argument("--bs_mult", type=positive_int, default=2, help="images in a batch, per process")
    run.add_argument("--max_epoch", type=positive_int, default=300, help="epochs to train")
    run.add_argument("--max_iters", type=positive_int, help="steps to train, instead of --max_epoch")
    run.add_argument("--eval_epoch", type=positive_int, default=10, help="first epoch that is scored, counted from 1")
    run.add_argument("--eval_every", type=positive_int, default=10, help="epochs between scores; the last is scored")
    run.add_argument("--log_every", type=positive_int, default=20, help="steps between log lines")
    run.add_argument("--checkpoint_every", default="10m", help="steps (200) or minutes (10m) between checkpoints")
    run.add_argument("--keep", type=positive_int, default=2, help="checkpoints kept, besides last.pth and best.pth")
    add_switch(run, "--dump_augmentation_images", default=False, help="write what the network sees in the first "
               f"{DUMPED_STEPS} steps as pictures into augmented/ of the run's folder")
    add_switch(run, "--test_mode", default=False, help="run everything for a few steps and images")
    add_switch(run, "--print_config", default=False, help="print each effective value and its origin, then stop")
    return parser


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """Returns the effective flags: the defaults, or a resumed run's own, with the command line's over them."""
    parser = build_parser()
    args, given = parser.parse_args(argv), parser.given(argv)
    try:
        if "arch" in given:
            args.arch = given["arch"] = network.canonical(args.arch)
        if args.resume:
            args = Namespace(**vars(parser.parse_args([])) | resumed_flags(Path(args.resume), given))
        if args.joint_edgeseg_loss is None:
            args.joint_edgeseg_loss = network.gives_body_and_edge(args.arch)
        elif args.joint_edgeseg_loss and not network.gives_body_and_edge(args.arch):
            raise ValueError(f"{args.arch} gives no body and edge to train: leave out --joint_edgeseg_loss, or take "
                             "--arch decouple_resnet50")
        loss.chosen_flags(vars(args))                       # both refuse what clashes
        optimizer.chosen_flags(vars(args))
        if args.freeze_backbone and args.pretrained == "none" and not (args.snapshot or args.resume):
            raise ValueError("--freeze_backbone would keep random weights (--pretrained none): give --pretrained or "
                             "--snapshot, or leave it out")
        spec = datasets.spec(args.dataset)
        args.crop_size = args.crop_size or spec.crop_size
        datasets.check_sampling(spec, args.class_uniform_pct, args.coarse_boost_classes)
        if not re.fullmatch(r"\d+m?", args.checkpoint_every):
            raise ValueError(f"--checkpoint_every {args.checkpoint_every}: give steps (200) or minutes (10m)")
        build_transform(args)                               # refuses clashing flags before any work starts
    except (ValueError, OSError) as error:
        parser.error(str(error))
    args.exp = args.exp or f"{spec.name}_{args.arch}".replace(":", "_")
    if args.print_config:
        for name, value in sorted(vars(args).items()):
            print(f"{name:20} {value!s:28} {'command line' if name in given else 'run' if args.resume else 'default'}")
    return args


def resumed_flags(run: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the flags of a run that goes on, changed where the command line may change them.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: the command line would make it another run.
    """
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in runs.read_args(run).items()}
    for name, value in given.items():
        if name not in MAY_CHANGE and stored.get(name) != value:
            raise ValueError(f"--{name} {value} would make it another run than {run}, which has {stored.get(name)}: "
                             "leave it out, or start a new run under another --exp")
    return {**stored, **{name: value for name, value in given.items() if name in MAY_CHANGE}}


def build_transform(args: Namespace) -> tuple[transforms.Compose, transforms.DeviceColour | None]:
    """Returns what the loader does to a pair, and what is left to the device.

    Raises:
        ValueError: flags of the transforms lie outside their range or clash.
    """
    whole = transforms.train_transform(
        args.crop_size, args.scale_min, args.scale_max, args.rotate, args.flip, args.color_aug, args.brightness,
        args.contrast, args.saturation, args.hue, args.gblur, args.bblur, args.gblur_prob)
    return transforms.for_device(whole) if args.augment_on == "device" else (whole, None)


class Training:
    """A run: everything that a checkpoint holds, and the steps that change it."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.folder = Path(args.resume) if args.resume else Path(args.ckpt) / args.exp
        self.device = precision.default_device()
        self.precision = precision.resolve_precision(args.precision, self.device)
        self.spec = datasets.spec(args.dataset)
        self.criterion = loss.build(**loss.chosen_flags(vars(args)), class_names=self.spec.names)
        state = checkpoint.newest(self.folder, network.weights.read) if args.resume else None
        if state is not None and not datasets.same(state.get("description"), self.spec.description):
            raise ValueError(f"{args.dataset} no longer says what it said when the run in {self.folder} began, and "
                             "other data make another run: put it back, or start a new run with --snapshot.")
        torch.manual_seed(args.seed)
        self.net = network.build(args.arch, self.spec.num_classes, args.fpn_dsn_loss or args.aux,
                                 **network.chosen_options(vars(args)))
        said = self._load_weights() if state is None else f"going on from step {state['step']}"
        self.net.freeze(backbone=args.freeze_backbone, norms=args.fix_bn)
        torch.manual_seed(args.seed + distributed.rank())   # one network for all processes, but dropout of their own

        self._build_data(args)
        self.total_steps = args.max_iters or args.max_epoch * len(self.sampler)
        if args.test_mode:
            self.total_steps = min(self.total_steps, 4)
        self._build_optimisation(args)
        self.step = 0                   # steps done
        self.validated = 0              # the step of the last validation
        self.mean_iu: float | None = None
        self.best: float | None = None
        self.dumps = DUMPED_STEPS if args.dump_augmentation_images and distributed.is_main() else 0
        if state is not None:
            self._restore(state)
        self._open()
        for line in (*self.plan.describe(self.spec.names), said):
            log.info(line)
        if state is None and self.plan.class_draws(0):
            self.log.write("sampling", 0, class_uniform_draws={
                self.spec.names[train_id]: count for train_id, count in self.plan.class_draws(0).items()})

    def _build_data(self, args: Namespace) -> None:
        transform, self.colour = build_transform(args)
        train_split = datasets.fold(self.spec, args.train_split, args.cv)
        data = datasets.build(self.spec, args.data_root, train_split, transform,
                              self.colour.draw if self.colour else None, args.packed)
        self.val_set = None
        if args.val_split != "none":
            val_split = datasets.fold(self.spec, args.val_split, args.cv)
            self.val_set = datasets.build(self.spec, args.data_root, val_split)
        self.train_set, self.plan = datasets.plan_training(
            data, args.seed, class_uniform_pct=args.class_uniform_pct,
            class_uniform_tile=args.class_uniform_tile, max_cu_epoch=args.max_cu_epoch,
            coarse_boost_classes=args.coarse_boost_classes, cache_dir=args.cache_dir, num_workers=args.num_workers)
        self.sampler = datasets.PlanSampler(self.plan, args.bs_mult, distributed.rank(), distributed.world_size())
        self.loader = datasets.train_loader(self.train_set, self.sampler, args.num_workers,
                                            skip_bad=args.on_bad_sample == "skip")

    def _build_optimisation(self, args: Namespace) -> None:
        layout = torch.channels_last if args.channels_last else torch.contiguous_format
        self.net.to(self.device).to(memory_format=layout)
        self.ema = Ema(self.net, args.ema_decay) if args.ema_decay else None
        self.model = distributed.wrap(self.net, self.device)
        if args.compile:
            self.model.compile()
        self.criterion.to(self.device)
        chosen = optimizer.chosen_flags(vars(args))
        self.optimizer = optimizer.build(
            self.net, global_batch=args.bs_mult * distributed.world_size(), **chosen["build"])
        self.schedule = optimizer.build_schedule(
            self.optimizer, total_steps=self.total_steps, steps_per_epoch=len(self.sampler), **chosen["schedule"])
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def fit(self, interrupts: Interrupts) -> None:
        """Trains to the last step, scoring and saving on the way.

        Raises:
            Interrupted: a signal came; nothing of the step that was under way is lost.
            ValueError: the loss is no longer finite.
        """
        self.interrupts = interrupts
        if self._validation_due():                          # a resumed run may have stopped in the middle of it
            self.validate()
            self.save()
        window, saved_at = Window(), time.monotonic()
        for batch in self.batches():
            window.add(self.train_step(batch), images=len(batch["name"]) * distributed.world_size())
            self.step += 1
            if self.step % self.args.log_every == 0 or self.step == self.total_steps:
                self._log(window)
                window = Window()
            if self._validation_due() or self._checkpoint_due(saved_at):
                self._refuse_nonsense(window)
                with window.paused():
                    if self._validation_due():
                        self.validate()
                    self.save()
                saved_at = time.monotonic()
            self.log.bar.update(self.step - self.log.bar.n)
            interrupts.check()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """One step of the optimiser; returns the weighted terms of the loss."""
        batch = prepare(batch, self.device, self.spec.mean, self.spec.std, self.args.channels_last,
                        self.colour.apply if self.colour else None)
        if self.dumps:
            self._dump(batch)
        self.model.train()
        with precision.autocast(self.device, self.precision):
            outputs = self.model(batch["image"], upsample=False)
        terms = self.criterion(outputs, batch["label"])
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(terms.values())).backward()
        if self.args.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.net.parameters(), self.args.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.rate = self.optimizer.param_groups[0]["lr"]    # what this step used
        self.schedule.step()
        if self.ema:
            self.ema.update(self.net, self.step)
        return {name: term.detach() for name, term in terms.items()}

    def validate(self) -> None:
        """Scores every image of the validation split once, with the averaged weights where there are any."""
        assert self.val_set is not None
        predictor = Predictor(self.ema.net if self.ema else self.net, self.device, self.precision, self.spec.mean,
                              self.spec.std, self.args.channels_last)
        mine = share(2 if self.args.test_mode else len(self.val_set))
        matrix = score(predictor, datasets.eval_loader(self.val_set, self.args.num_workers, mine),
                       self.spec.num_classes, total=len(mine), what=f"validation on {self.val_set.split}",
                       each=self.interrupts.check)
        self.mean_iu, self.validated = matrix.mean_iou(), self.step
        scores = matrix.summary(self.spec.names)
        self.log.write("validation", self.step, epoch=self._epoch(),
                       **{name: scores[name] for name in ("mIoU", "pixel_accuracy", "per_class_IoU")})
        log.info("validation after step %d: mIoU %.2f %% on %s", self.step, 100 * self.mean_iu, self.args.val_split)

    def save(self) -> None:
        """Writes the checkpoint of this step, and points `best.pth` at it when its score is the best so far."""
        if not distributed.is_main():
            return
        is_best = (self.validated == self.step and self.mean_iu is not None
                   and (self.best is None or self.mean_iu > self.best))
        if is_best:
            self.best = self.mean_iu
        epoch, position = divmod(self.step, len(self.sampler))
        path = checkpoint.save(self.folder, {
            "format": checkpoint.FORMAT, "arch": self.args.arch, "num_classes": self.spec.num_classes,
            "dataset": self.args.dataset, "description": self.spec.description, "classes": list(self.spec.names),
            "state_dict": network.weights.published_state_dict(self.net),
            "ema": network.weights.published_state_dict(self.ema.net) if self.ema else None,
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(), "sampler": {"epoch": epoch, "step": position},
            "rng": {"cpu": torch.get_rng_state(),
                    "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None},
            "epoch": epoch, "step": self.step, "validated": self.validated, "mean_iu": self.mean_iu, "best": self.best,
            "args": vars(self.args),
        }, self.step, self.args.keep)
        if is_best:
            checkpoint.point(self.folder / "best.pth", path)

    def summarise(self) -> None:
        """Says where everything is and how to go on."""
        last = self.folder / "last.pth"
        skipped = int(distributed.all_reduce_sum_(torch.tensor(self.loader.skipped.total(), device=self.device)))
        if skipped:
            log.warning("An image could not be used, and another took its place, %d times (--on_bad_sample skip).",
                        skipped)
        best = f", best mIoU {100 * self.best:.2f} % in {self.folder / 'best.pth'}" if self.best is not None else ""
        log.info("Done: %d steps%s.", self.step, best)
        log.info("  weights      %s", last)
        log.info("  metrics      %s; curves: tensorboard --logdir %s", self.log.path, self.log.folder)
        log.info("  score        python eval.py --snapshot %s --dataset %s%s --split %s", last, self.args.dataset,
                 f" --data_root {self.args.data_root}" if self.args.data_root else "",
                 self.val_set.split if self.val_set else "test")
        log.info("  your images  python -m tools.demo --snapshot %s --input FOLDER --out FOLDER", last)

    def close(self) -> None:
        self.log.close()

    def _load_weights(self) -> str:
        """Fills the network from --snapshot, or its backbone from --pretrained; returns what to say of it."""
        if self.args.snapshot:
            report = network.weights.load(self.net, self.args.snapshot, self.args.reset_classifier, self.args.init_aux)
            return f"starting at step 0 from {self.args.snapshot}: {report}"
        loaded = network.weights.load_imagenet(self.net, self.args.arch, self.args.pretrained)
        if loaded is None:
            return "starting at step 0 from random weights (--pretrained none)"
        return f"starting at step 0 with a backbone from ImageNet: {loaded}"

    def _dump(self, batch: dict[str, Any]) -> None:
        """Writes a prepared batch as one picture: each image beside its label."""
        self.dumps -= 1
        images = denormalise(batch["image"], self.spec.mean, self.spec.std).permute(0, 2, 3, 1).cpu().numpy()
        labels = batch["label"].to(torch.uint8).cpu().numpy()
        path = self.folder / "augmented" / f"step_{self.step}.png"
        visualize.write(path, visualize.sheet(images, labels, batch["name"], self.spec.palette))
        log.info("what the network sees: %s", path)

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes everything that a checkpoint holds."""
        network.weights.load(self.net, state)
        if self.ema:
            network.weights.load(self.ema.net, state, ema=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda" and state["rng"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        self.step, self.validated, self.mean_iu, self.best = (
            state[name] for name in ("step", "validated", "mean_iu", "best"))

    def _open(self) -> None:
        """Makes the run's folder, or goes on in it, and starts the logs."""
        if distributed.is_main() and not self.args.resume:
            files = [path for sample in self.train_set.samples for path in (sample.image, sample.label) if path]
            runs.create(self.folder, vars(self.args), runs.environment(self.device, self.precision, files))
        distributed.barrier()
        start_logging(self.folder)
        tensorboard = Path(self.args.tb_path) / self.args.exp if self.args.tb_path else self.folder / "tb"
        self.log = RunLog(self.folder, tensorboard, self.step, self.total_steps, quiet=not distributed.is_main())
        millions = sum(one.numel() for one in self.net.parameters()) / 1e6
        log.info("%s (%.2f M parameters) on %s, %s on %s: %d images, %d steps of %d x %d process(es), in %s",
                 self.args.arch, millions, self.args.dataset, self.precision, self.device.type, len(self.train_set),
                 self.total_steps, self.args.bs_mult, distributed.world_size(), self.folder)

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yields this process's batches from the current step to the last, epoch after epoch."""
        while self.step < self.total_steps:
            self.sampler.set_position(*divmod(self.step, len(self.sampler)))
            self.criterion.set_epoch(self.step // len(self.sampler))
            for batch in self.loader:
                yield batch
                if self.step >= self.total_steps:
                    return

    def _epoch(self) -> float:
        return self.step / len(self.sampler)

    def _validation_due(self) -> bool:
        """Whether this step ends an epoch that is to be scored, or the run, and has not been scored."""
        if self.val_set is None or self.validated == self.step or self.step == 0:
            return False
        epoch, rest = divmod(self.step, len(self.sampler))
        after = epoch - self.args.eval_epoch
        return self.step == self.total_steps or (rest == 0 and after >= 0 and after % self.args.eval_every == 0)

    def _checkpoint_due(self, saved_at: float) -> bool:
        every = self.args.checkpoint_every
        if self.step == self.total_steps:
            return True
        if every.endswith("m"):
            return time.monotonic() - saved_at > 60 * int(every[:-1])
        return self.step % int(every) == 0

    def _log(self, window: Window) -> None:
        self._refuse_nonsense(window)
        terms, seconds = window.means(), window.seconds()
        total = sum(terms.values())
        speed = window.images / seconds
        self.log.write("train", self.step, epoch=self._epoch(), loss=total, terms=terms, lr=self.rate,
                       images_per_second=speed)
        parts = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        left = timedelta(seconds=round((self.total_steps - self.step) * seconds / window.steps))
        self.log.progress(f"epoch {self._epoch():.2f} step {self.step}/{self.total_steps}",
                          f"loss {total:.3f} ({parts}) lr {self.rate:.2e} {speed:.1f} images/s", f"{left} left")

    def _refuse_nonsense(self, window: Window) -> None:
        """Stops before a loss that is not finite is logged, or weights that it spoilt are saved."""
        terms = window.means()
        if not all(map(math.isfinite, terms.values())):
            raise ValueError(f"the loss is {terms} after step {self.step} (learning rate {self.rate:.3g}): lower --lr, "
                             "clip with --clip_grad 10, or try --precision fp32. The last checkpoint in "
                             f"{self.folder} is from before.")


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.print_config:
        return 0
    start_logging()
    distributed.start()
    try:
        with closing(Training(args)) as run, Interrupts() as interrupts:
            try:
                run.fit(interrupts)
            except Interrupted as stopped:
                run.save()
                log.info("%s: saved at step %d. Go on with: python train.py --resume %s", stopped, run.step, run.folder)
                return stopped.exit_code
            run.summarise()
    except (ValueError, OSError) as error:
        log.error("train.py: error: %s", error, exc_info=True)
        return 2
    except KeyboardInterrupt:
        log.error("train.py: stopped at once; a run that has begun goes on from its last checkpoint with --resume")
        return 130
    finally:
        distributed.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
