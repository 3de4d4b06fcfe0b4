"""A flag that would be ignored is refused, if it was given on the command line."""
from __future__ import annotations

import argparse

import pytest

import train
from utils.training.recipes import RECIPES
from utils.training.unused_flags import USES

# read by every run, or refused by the options of their package where they have no effect
OTHERS = """
    accumulate apex arch augment_on aux batch_weighting bblur boundary_weight brightness bs_mult
    cache_dir channels_last checkpoint_every ckpt class_uniform_pct class_weights clip_grad
    coarse_boost_classes compile context contrast copy_paste crop_size cutmix cv data_root
    dataset decay_norms deterministic dice_weight dump_augmentation_images ema_decay
    eval_weights exp extra_data fam_levels final_fams fix_bn flip focal fpn_dsn_loss
    freeze_backbone gblur global_batch head_lr_factor hue img_wt_loss init joint_edgeseg_loss
    jointwtborder keep label_smoothing log_every loss_norm lovasz_weight lr lr_schedule lr_step
    max_epoch max_iters memory_estimate mosaic nesterov num_workers ohem on_bad_sample on_nan
    optimizer output_stride packed precision pretrained print_config randaugment recipe
    recompute restore_optimizer resume rlx_off_epoch rotate saturation scale_lr scale_max
    scale_min seed snapshot strict_bdr_cls syncbn tb_path teacher test_mode tf32 timeout track
    train_split val_split warmup_steps weight_decay
""".split()  # noqa: SIM905


def refusal(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="2"):
        train.parse(words.split())
    return capsys.readouterr().err


@pytest.mark.parametrize(("flags", "message"), [
    ("--ohem_thresh 0.7", "--ohem_thresh would be ignored: add --ohem"),
    ("--ohem_min_kept 9 --ohem_thresh 0.5", "--ohem_thresh and --ohem_min_kept would be ignored"),
    ("--aux_weight 0.4", "add --fpn_dsn_loss or --aux"),
    ("--wt_bound 2 --ohem", "add --img_wt_loss or --jointwtborder"),
    ("--reset_classifier", "add --snapshot FILE"),
    ("--boundary_width 8", "add --boundary_weight above 0"),
    ("--distill kl", "--distill would be ignored: add --teacher FILE"),
    ("--distill_warmup 5 --distill_on labeled", "add --teacher FILE"),
    ("--init_aux", "add --snapshot FILE"),
    ("--max_cu_epoch 3", "add --class_uniform_pct"),
    ("--class_uniform_tile 64 --class_uniform_pct 0", "add --class_uniform_pct"),
    ("--copy_paste_classes 3", "--copy_paste_classes would be ignored: add --copy_paste above 0"),
    ("--momentum 0.8 --adamw", "--momentum would be ignored: use --sgd"),
    ("--poly_exp 1 --lr_schedule cosine", "use --lr_schedule poly"),
    ("--rescale 2", "use --lr_schedule scl-poly"),
    ("--gblur_prob 1 --no_gblur", "use --gblur or --bblur"),
    ("--eval_thresholds 0.1", "add --evaluateF"),
    ("--evaluateF --val_split none", "leave out --val_split none"),
    ("--layer_decay 0.8 --freeze_backbone", "leave out --freeze_backbone"),
    ("--sgd --adam", "--adam and --sgd exclude each other"),
    ("--precision bf16 --fp16", "--fp16 and --precision exclude each other"),
])
def test_a_flag_that_would_be_ignored_is_refused(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(flags, capsys)
    assert message in refusal(f"{flags} --print_config", capsys)


@pytest.mark.parametrize("flags", [
    "--ohem --ohem_thresh 0.9", "--no_reset_classifier", "--flip --no_flip", "--no_evaluateF",
    "--fpn_dsn_loss --aux_weight 0.4", "--lr_schedule scl-poly --rescale 2 --jointwtborder "
    "--rlx_off_epoch 2", "--bblur --no_gblur --gblur_prob 1",
])
def test_a_flag_that_is_read_or_asks_for_nothing_passes(flags: str) -> None:
    train.parse(flags.split())


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_values_of_a_recipe_are_no_error(recipe: str) -> None:
    train.parse(["--recipe", recipe, "--no_ohem", "--lr_schedule", "constant"])


def test_every_declared_flag_has_a_rule_or_is_always_read() -> None:
    declared = {action.dest for action in train.build_parser()._actions} - {argparse.SUPPRESS}
    ruled = {name for use in USES for name in use.flags}
    assert declared - ruled - set(OTHERS) == set()
    assert ruled <= declared and not ruled & set(OTHERS)
