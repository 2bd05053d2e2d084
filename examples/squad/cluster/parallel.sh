#!/bin/bash
# A run of gemma-squad by GNU parallel: SHARDS shards, JOBS at a time; here, or with SSH="--sshloginfile hosts" on the machines of
# that file, which see the same directories. The same command again goes on where it stopped.
#
#   SHARDS=32 JOBS=4 parallel.sh RUN --model NAME=FILE... --squad FILE [flags of gemma-squad run]
set -euo pipefail
run=${1:?which directory is the run to have? See the top of this script}
shift
squad=${GEMMA_SQUAD:-gemma-squad} shards=${SHARDS:-8}
# shellcheck disable=SC2086 # SSH is flags
parallel --quote --retries 4 --jobs "${JOBS:-2}" ${SSH:-} "$squad" run "$@" --out "$run/shard{}" --shard "{}/$shards" -q ::: $(seq "$shards")
"$squad" merge $(seq -f "$run/shard%.0f" "$shards") --out "$run/whole" -q
