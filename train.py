"""Trains a scene parsing network: parse, build, loop, save. `python train.py --help` lists the flags."""
from __future__ import annotations

import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

import datasets
import loss
import network
import optimizer
import transforms
from network.alignment import recorded_flows
from utils import batches, cli, distributed, files, precision
from utils.cli import FlagParser, add_switch
from utils.evaluation import boundary
from utils.evaluation.predictor import Predictor
from utils.logs import start_logging
from utils.training import batching, checkpoint, intervals, options, recovery, run_folder, validation
from utils.training.ema import Ema
from utils.training.intervals import Intervals
from utils.training.memory import estimate, peak_memory
from utils.training.recipes import RECIPES
from utils.training.recompute import recompute
from utils.training.recovery import NotFinite, Stepper
from utils.training.run_log import RunLog, Window
from utils.training.signals import Interrupted, Interrupts
from utils.visualization import label_maps

log = logging.getLogger("train")

RETIRED = {
    "--local_rank": "torchrun, which tells each process its rank", "--start_epoch": "--resume logs/NAME",
    "--trunk": "--arch", "--tb_tag": "--exp", "--dataset_dir": "--data_root", "--hardnm": "--ohem",
    "--pre_size": "--crop_size with --scale_min and --scale_max", "--batch_size": "--bs_mult",
    "--epochs": "--max_epoch",
    "--amsgrad": "--adam", "--crop_nopad": "--crop_size (a smaller image is padded and the padding ignored)",
}
# on --resume; anything else would be another run
RESUMABLE_FLAGS = {"resume", "num_workers", "val_split", "log_every", "eval_epoch", "eval_every", "eval_late",
              "checkpoint_every", "keep", "data_root", "packed", "on_bad_sample", "cache_dir",
              "dump_augmentation_images", "test_mode", "print_config", "timeout", "on_nan", "recompute", "eval_weights",
              "eval_images", "memory_estimate", "bs_mult_val", "evaluateF", "eval_thresholds"}
PER_HOST_FLAGS = {"data_root", "num_workers", "ckpt", "tb_path", "packed", "cache_dir"}  # may differ among the processes
DUMPED_STEPS = 4
REWINDS = 3                                                 # of --on_nan rewind, before the run gives up


def build_parser() -> FlagParser:
    parser = FlagParser(prog="train.py", description="Train a scene parsing network.", retired=RETIRED)
    datasets.add_flags(parser)
    transforms.add_flags(parser)
    network.add_flags(parser)
    add_switch(parser, "--restore_optimizer", default=False,
               help="with --snapshot: take its optimizer's momentum too; rates and steps start anew")
    for room in (loss, optimizer, precision, recovery, batching, intervals, validation, boundary):
        room.add_flags(parser)
    run_folder.add_flags(parser, RECIPES)
    add_switch(parser, "--dump_augmentation_images", default=False, help="write what the network sees in the first "
               f"{DUMPED_STEPS} steps as pictures into augmented/ of the run's folder")
    return parser


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """Returns the effective flags: defaults, a recipe's or a resumed run's own, with the command line's over them."""
    parser = build_parser()

    def normalize(given: dict[str, Any]) -> None:
        if "arch" in given:
            given["arch"] = network.resolve_name(given["arch"])

    def default_name(values: dict[str, Any]) -> str:
        return f"{datasets.spec(values['dataset']).name}_{values['arch']}".replace(":", "_")

    try:
        args, origins = options.resolve_flags(parser, argv, recipes=RECIPES, may_change=RESUMABLE_FLAGS, normalize=normalize,
                                        default_name=default_name)
        if args.joint_edgeseg_loss is None:
            args.joint_edgeseg_loss = network.has_body_edge_outputs(args.arch)
        elif args.joint_edgeseg_loss and not network.has_body_edge_outputs(args.arch):
            raise ValueError(f"{args.arch} gives no body and edge to train: leave out --joint_edgeseg_loss, or take "
                             "--arch decouple_resnet50")
        network.NetworkOptions.from_args(args)
        optimizer.OptimizerOptions.from_args(args)
        check_flags(loss.LossOptions.from_args(args), optimizer.ScheduleOptions.from_args(args), args)
        if args.restore_optimizer and not args.snapshot:
            raise ValueError("--restore_optimizer takes the optimizer of --snapshot, and there is none. To go on with "
                             "a run, --resume restores everything.")
        if args.freeze_backbone and args.pretrained == "none" and not (args.snapshot or args.resume):
            raise ValueError("--freeze_backbone would keep random weights (--pretrained none): give --pretrained or "
                             "--snapshot, or leave it out")
        args.crop_size = args.crop_size or datasets.DataOptions.from_args(args).spec.crop_size
        transforms.TransformOptions.from_args(args)
        shared = batching.batching(distributed.world_size_to_come(), args.bs_mult, args.accumulate,
                                      args.global_batch, again=bool(args.resume))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    vars(args).update(vars(shared))
    if args.print_config:
        print(options.table(args, origins))
    return args


def check_flags(losses: loss.LossOptions, schedule: optimizer.ScheduleOptions, args: Namespace) -> None:
    """Checks flags that concern two packages.

    Raises:
        ValueError: two flags exclude each other, or one needs another.
    """
    epoch = losses.rlx_off_epoch
    if epoch and not schedule.restarts:
        losses.check_used("rlx_off_epoch")
    if schedule.restarts and not epoch:
        raise ValueError("--lr_schedule scl-poly needs --rlx_off_epoch, the epoch in which it restarts")
    if schedule.restarts and not args.max_iters and epoch >= args.max_epoch:
        raise ValueError(f"--lr_schedule scl-poly would restart in epoch {epoch} (--rlx_off_epoch), but the run ends "
                         f"after {args.max_epoch} (--max_epoch)")


class Training:
    """A run: everything that a checkpoint holds, and the steps that change it."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.folder = Path(args.resume) if args.resume else Path(args.ckpt) / args.exp
        self.device = precision.default_device()
        self.precision = precision.resolve_precision(args.precision, self.device)
        self.data = datasets.DataOptions.from_args(args)
        self.spec = self.data.spec
        self.criterion = loss.build(loss.LossOptions.from_args(args), class_names=self.spec.names)
        state = checkpoint.newest(self.folder, network.checkpoints.weights.read) if args.resume else None
        if state is not None and not datasets.describes_same_data(state.get("description"), self.spec.description):
            raise ValueError(f"{args.dataset} no longer says what it said when the run in {self.folder} began, and "
                             "other data make another run: put it back, or start a new run with --snapshot.")
        distributed.check_same({**{name: value for name, value in vars(args).items() if name not in PER_HOST_FLAGS},
                                "resume": f"{args.resume} (step {state['step'] if state else 0})"})
        torch.manual_seed(args.seed)
        options = network.NetworkOptions.from_args(args)
        self.net = network.build(options.arch, self.spec.num_classes, options.deep_supervision, **options.build_options)
        network.initialize(self.net, options.init)
        said = self._load_weights() if state is None else f"going on from step {state['step']}"
        self.net.freeze(backbone=args.freeze_backbone, norms=args.fix_bn, training_only=not args.joint_edgeseg_loss
                        and network.has_body_edge_outputs(args.arch))
        torch.manual_seed(args.seed + distributed.rank())   # one network for all processes, but dropout of their own

        self._build_data(args)
        self.cadence = Intervals(
            total_steps=min(args.max_iters or args.max_epoch * len(self.sampler),
                            intervals.TEST_STEPS if args.test_mode else sys.maxsize),
            steps_per_epoch=len(self.sampler), eval_epoch=args.eval_epoch, eval_every=args.eval_every,
            eval_late=args.eval_late, log_every=args.log_every, checkpoint_every=args.checkpoint_every)
        self._build_optimization(args)
        self.step = 0                   # steps done
        self.validated = 0              # the step of the last validation
        self.mean_iu: float | None = None
        self.best: float | None = None
        self.left_out: list[int] = []   # steps passed over, by --on_nan rewind
        self.save_requested = False        # by the main process's clock
        self.rehearses = args.memory_estimate
        if state is not None:
            self._restore(state)
        elif args.restore_optimizer:
            self.stepper.load_momentum(network.checkpoints.weights.read(args.snapshot))
        self.dumps = DUMPED_STEPS if args.dump_augmentation_images and distributed.is_main() else 0
        self._open()
        for line in (*self.plan.describe(self.spec.names), said):
            log.info(line)
        if state is None and self.plan.class_draws(0):
            self.log.write("sampling", 0, class_uniform_draws={
                self.spec.names[train_id]: count for train_id, count in self.plan.class_draws(0).items()})

    def _build_data(self, args: Namespace) -> None:
        transform, self.color = transforms.build(transforms.TransformOptions.from_args(args))
        extras = self.color.draw if self.color else None
        self.val_set = self.data.build_val_set()
        self.train_set, self.plan = self.data.build_train_set(transform, extras, args.seed)
        self.sampler = datasets.EpochSampler(self.plan, args.bs_mult * args.accumulate, distributed.rank(),
                                            distributed.world_size())
        self.loader = datasets.train_loader(self.train_set, self.sampler, self.data.num_workers,
                                            skip_bad=self.data.skip_bad)

    def _build_optimization(self, args: Namespace) -> None:
        precision.configure(args.tf32, args.deterministic)
        layout = torch.channels_last if args.channels_last else torch.contiguous_format
        self.net.to(self.device).to(memory_format=layout)
        self.ema = Ema(self.net, args.ema_decay) if args.ema_decay else None
        self.scored = validation.wanted(
            args.eval_weights, {"raw": self.net, **({"ema": self.ema.net} if self.ema else {})})
        if args.recompute:
            recompute(self.net.backbone)
        model = distributed.wrap(self.net, self.device, syncbn=args.syncbn, apex=args.apex, accumulate=args.accumulate)
        if args.compile:
            model.compile()
        rule = optimizer.build(self.net, optimizer.OptimizerOptions.from_args(args), global_batch=args.global_batch)
        schedule = optimizer.build_schedule(
            rule, optimizer.ScheduleOptions.from_args(args), total_steps=self.cadence.total_steps,
            steps_per_epoch=len(self.sampler), restart_epoch=args.rlx_off_epoch)
        prepare = partial(batches.prepare, device=self.device, mean=self.spec.mean, std=self.spec.std,
                          channels_last=args.channels_last,
                          color=self.color.apply if self.color else None)
        self.stepper = Stepper(
            model, self.net, self.criterion.to(self.device), rule, schedule, prepare, device=self.device,
            precision=self.precision, accumulate=args.accumulate, loss_norm=args.loss_norm, clip_grad=args.clip_grad,
            on_nan=args.on_nan, ema=self.ema)

    def fit(self, interrupts: Interrupts) -> None:
        """Trains to the last step, scoring and saving on the way.

        Raises:
            Interrupted: a signal came; nothing of the step that was under way is lost.
            NotFinite: the loss is no longer finite.
        """
        self.interrupts = interrupts
        if self._validation_due():                          # a resumed run may have stopped in the middle of it
            self.validate()
            self.save()
        while self.step < self.cadence.total_steps:
            try:
                self._train()
            except NotFinite as error:
                self._rewind(error)

    def _train(self) -> None:
        window = Window()
        for batch in window.waiting(self.batches()):
            logs = self.cadence.logs(self.step + 1)
            if self.rehearses:
                self.rehearses = False
                log.info(estimate(partial(self.stepper.dry_run, batch), self.stepper.optimizer, self.device))
            if self.dumps:
                self._dump(batch)
            window.add(self.step + 1, batch["name"], self.stepper.step(batch, self.step, want_norm=logs))
            self.step += 1
            if logs:
                self._log(window)
                window.restart()
            if self._validation_due() or self.cadence.saves(self.step) or self.save_requested:
                recovery.finite_means(window, self.net, self.stepper.rate, self.folder)
                with window.paused():
                    if self._validation_due():
                        self.validate()
                    self.save()
            self.log.bar.update(self.step - self.log.bar.n)
            self.save_requested = self.interrupts.ask(wish=distributed.is_main() and self.cadence.saves_by_now())

    def validate(self) -> None:
        """Scores the validation split, every image once, with the raw or the averaged weights, or with both."""
        assert self.val_set is not None
        indices = validation.spread(len(self.val_set), 2 if self.args.test_mode else self.args.eval_images)
        validations = []
        for weights, net in self.scored.items():
            if not self.args.syncbn:
                distributed.copy_buffers_from_main(net)
            predictor = Predictor(net, self.device, self.precision, self.spec.mean, self.spec.std,
                                  self.args.channels_last)
            validations.append(validation.evaluate(
                weights, predictor, partial(datasets.eval_loader, self.val_set, self.data.num_workers), indices,
                num_classes=self.spec.num_classes, palette=self.spec.palette, record_flows=recorded_flows,
                interrupts=self.interrupts, what=f"validation on {self.val_set.split}, {weights} weights",
                images_per_batch=self.args.bs_mult_val,
                thresholds=self.args.eval_thresholds if self.args.evaluateF else ()))
        best = max(validations, key=lambda result: result.matrix.mean_iou())
        self.mean_iu, self.validated = best.matrix.mean_iou(), self.step
        scores = best.matrix.summary(self.spec.names)
        self.log.write("validation", self.step, epoch=self.cadence.epoch(self.step), weights=best.weights,
                       **{name: scores[name] for name in ("mIoU", "pixel_accuracy", "per_class_IoU")},
                       mIoU_of={each.weights: each.matrix.mean_iou() for each in validations},
                       boundary_F=best.boundary_f(self.args.eval_thresholds, self.spec.names))
        self.log.show({f"validation/{name}": each for name, each in best.pictures.items()}, self.step)
        log.info("validation after step %d: mIoU %s on %d of %d images of %s", self.step,
                 ", ".join(f"{100 * each.matrix.mean_iou():.2f} % ({each.weights} weights)" for each in validations),
                 len(indices), len(self.val_set), self.args.val_split)

    def save(self) -> None:
        """Writes the checkpoint of this step, and points `best.pth` at it when its score is the best so far."""
        generators = distributed.gather(precision.generators(self.device))      # of every process
        self.cadence.saved()
        is_best = (self.validated == self.step and self.mean_iu is not None
                   and (self.best is None or self.mean_iu > self.best))
        if is_best:
            self.best = self.mean_iu
        if distributed.is_main():
            self._write(generators, is_best)
        distributed.barrier()                               # no process goes on, or ends, before the file is whole

    def _write(self, generators: list[Any], is_best: bool) -> None:
        epoch, position = divmod(self.step, len(self.sampler))
        path = checkpoint.save(self.folder, {
            "format": checkpoint.FORMAT, "arch": self.args.arch, "num_classes": self.spec.num_classes,
            "dataset": self.args.dataset, "description": self.spec.description, "classes": list(self.spec.names),
            "state_dict": network.checkpoints.weights.published_state_dict(self.net),
            "ema": network.checkpoints.weights.published_state_dict(self.ema.net) if self.ema else None,
            **self.stepper.state(), "sampler": {"epoch": epoch, "step": position}, "rng": generators,
            "epoch": epoch, "step": self.step, "validated": self.validated, "mean_iu": self.mean_iu, "best": self.best,
            "left_out": self.left_out, "args": vars(self.args),
        }, self.step, self.args.keep)
        if is_best:
            files.link_or_copy(self.folder / "best.pth", path)

    def summarize(self) -> None:
        """Says where everything is and how to go on."""
        skipped = int(distributed.all_reduce_sum_(torch.tensor(self.loader.skipped.total(), device=self.device)))
        if skipped:
            log.warning("Images that could not be used, each replaced by another: %d (--on_bad_sample skip).", skipped)
        data = ["--data_root", self.args.data_root] if self.args.data_root else []
        flags = ["--dataset", self.args.dataset, *data, "--split", self.val_set.split if self.val_set else "test"]
        for line in run_folder.closing_summary(self.folder, self.step, self.best, self.log.path, self.log.folder, shlex.join(flags)):
            log.info(line)

    def close(self) -> None:
        self.log.close()

    def _load_weights(self) -> str:
        """Fills the network from --snapshot, or its backbone from --pretrained; returns what to say of it."""
        if self.args.snapshot:
            ema = False if self.args.restore_optimizer else None    # the momentum belongs to the raw weights
            report = network.checkpoints.weights.load(self.net, self.args.snapshot, self.args.reset_classifier, self.args.init_aux,
                                          ema)
            return f"starting at step 0 from {self.args.snapshot}: {report}"
        loaded = network.checkpoints.weights.load_imagenet(self.net, self.args.arch, self.args.pretrained)
        if loaded is None:
            return "starting at step 0 from random weights (--pretrained none)"
        return f"starting at step 0 with a backbone from ImageNet: {loaded}"

    def _dump(self, batch: dict[str, Any]) -> None:
        """Writes what the network sees of a batch as one picture: each image beside its label."""
        self.dumps -= 1
        seen = self.stepper.prepare(batch)
        images = batches.denormalize(seen["image"], self.spec.mean, self.spec.std).permute(0, 2, 3, 1).cpu().numpy()
        labels = seen["label"].to(torch.uint8).cpu().numpy()
        path = self.folder / "augmented" / f"step_{self.step}.png"
        label_maps.write(path, label_maps.sheet(list(images), labels, batch["name"], self.spec.palette))
        log.info("what the network sees: %s", path)

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes everything that a checkpoint holds."""
        network.checkpoints.weights.load(self.net, state)
        if self.ema:
            network.checkpoints.weights.load(self.ema.net, state, ema=True)
        self.stepper.restore(state)
        self.step, self.validated, self.mean_iu, self.best, self.left_out = (
            state[name] for name in ("step", "validated", "mean_iu", "best", "left_out"))
        if not precision.restore_generators(state["rng"], self.device, distributed.rank(), distributed.world_size()):
            log.warning("the checkpoint of step %d is from %d process(es), and %d go on: the images of each step stay "
                        "the same, but not every bit", self.step, len(state["rng"]), distributed.world_size())

    def _rewind(self, error: NotFinite) -> None:
        """Goes back to the last checkpoint, to leave the batch of the error out when it comes again; or raises it."""
        state = None
        if self.args.on_nan == "rewind" and len(self.left_out) < REWINDS:
            state = checkpoint.newest(self.folder, network.checkpoints.weights.read)
        if state is None or error.step <= state["step"]:
            raise error
        log.warning("%s. Going back to step %d; step %d will be left out", error, state["step"], error.step)
        known = [*self.left_out, error.step]
        self._restore(state)
        self.left_out = known
        self.log.rewind(self.step)

    def _open(self) -> None:
        """Makes the run's folder, or goes on in it, and starts the logs."""
        if distributed.is_main() and not self.args.resume:
            files = [path for sample in self.train_set.samples for path in (sample.image, sample.label) if path]
            run_folder.create(self.folder, vars(self.args), run_folder.environment(self.device, self.precision, files))
        distributed.barrier()
        start_logging(self.folder)
        tensorboard = Path(self.args.tb_path) / self.args.exp if self.args.tb_path else self.folder / "tb"
        self.log = RunLog(self.folder, tensorboard, self.step, self.cadence.total_steps,
                          quiet=not distributed.is_main())
        millions = sum(one.numel() for one in self.net.parameters()) / 1e6
        log.info("%s (%.2f M parameters) on %s, %s on %s: %d images, %d steps of %d images (%d process(es) x %d x %d), "
                 "in %s", self.args.arch, millions, self.args.dataset, self.precision, self.device.type,
                 len(self.train_set), self.cadence.total_steps, self.args.global_batch, distributed.world_size(),
                 self.args.accumulate, self.args.bs_mult, self.folder)
        if self.args.accumulate > 1:
            log.info("  batch normalization sees %d images at a time: accumulation does not widen it",
                     self.args.bs_mult * (distributed.world_size() if self.args.syncbn else 1))

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yields this process's batches from the current step to the last, epoch after epoch."""
        while self.step < self.cadence.total_steps:
            self.sampler.set_position(*divmod(self.step, len(self.sampler)))
            self.criterion.set_epoch(self.step // len(self.sampler))
            for batch in batches.ahead_on_device(self.loader, self.device):
                if self.step + 1 in self.left_out:
                    self.stepper.skip_step()
                    self.step += 1
                else:
                    yield batch
                if self.step >= self.cadence.total_steps:
                    return

    def _validation_due(self) -> bool:
        return self.val_set is not None and self.validated != self.step and self.cadence.scores(self.step)

    def _log(self, window: Window) -> None:
        terms = recovery.finite_means(window, self.net, self.stepper.rate, self.folder)
        if terms:                                           # else every step was left out
            self.log.train(self.step, self.cadence, window, terms, lr=self.stepper.rate, norm=self.stepper.norm,
                           memory=peak_memory(self.device))


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return 0 if args.print_config else cli.run_program("train.py", partial(run, args), resume="a run that has begun goes on from its last checkpoint with --resume")


def run(args: Namespace) -> int:
    """Trains; returns the exit code."""
    start_logging()
    distributed.start(args.timeout)
    with network.flags_in_errors(), closing(Training(args)) as training, Interrupts(agreed=True) as interrupts:
        try:
            training.fit(interrupts)
        except Interrupted as stopped:
            training.save()
            log.info("%s: saved at step %d. Go on with: python train.py --resume %s", stopped, training.step,
                     training.folder)
            return stopped.exit_code
        training.summarize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
