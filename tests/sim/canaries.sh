#!/bin/sh
# Builds the storage with its deliberate mistakes and shows for each a seed that notices it.
# RINGLOG_SIM_SEEDS bounds the seeds for each, RINGLOG_SIM_CANARY=Name picks one.
set -eu
cd "$(dirname "$0")/../.."
RUSTFLAGS="--cfg canary" exec cargo test --target-dir "${CARGO_TARGET_DIR:-target}/canary" \
    --test sim every_canary_is_caught -- --nocapture
