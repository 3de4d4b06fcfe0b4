#!/bin/sh
# Slurm: 2 hosts with 4 GPUs each, requeued before the time limit. Submit it (or a changed copy)
# from the checkout: sbatch scripts/slurm_example.sh
#SBATCH --job-name=sfnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@180

# Three minutes before the end Slurm signals this shell: the run saves a checkpoint and stops, and
# the job is requeued.
again() {
    kill -TERM "$RUN"
    wait "$RUN"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap again USR1

# The run's folder must be on a disk that the hosts share. The same command begins the run and, in
# a requeued job, goes on with it.
NAME=cityscapes_sfnet_res18
set -- --data_root /datasets/cityscapes --ckpt logs --exp "$NAME" --resume auto

# Restart processes that die.
export MAX_RESTARTS=3
srun sh scripts/train/train_cityscapes_sfnet_res18.sh "$@" &
RUN=$!
wait "$RUN"
