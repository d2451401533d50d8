#!/bin/bash
# One task of a sweep's job array: runs the command that this script's arguments are. Nothing is ever written into this text.
#
# Slurm warns this shell alone, by SIGUSR1 some minutes before its time is over, and sends SIGTERM when the job is preempted or cancelled.
# Either way the program is asked to save and to stop, which ends with 75. After the warning the task puts itself back into the
# queue. After SIGTERM it does not: a preempted task is put back by Slurm, and a cancelled one must not come to life again.
set -u
signalled='' requeue='' program=''

# shellcheck disable=SC2317 # the traps call it
ask() {
  signalled=yes requeue=$1
  [ -z "$program" ] || kill -TERM "$program" 2>/dev/null
}
trap 'ask yes' USR1
trap 'ask ""' TERM

"$@" &
program=$!
[ -z "$signalled" ] || kill -TERM "$program" # it came before there was a program
while
  signalled=''
  wait "$program" # a signal ends it early
  code=$?
  [ -n "$signalled" ]
do :; done

if [ "$code" = 75 ] && [ -n "$requeue" ]; then
  if [ "$SECONDS" -lt 60 ]; then
    echo "the time of this job is about as short as the warning before its end: not put back into the queue, ask for more (--time)" >&2
  else
    # The number of this task, never $SLURM_JOB_ID: for one task of an array that is the number of the whole array.
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
  fi
fi
exit "$code"
