//! The loop: drain completions, mail and timers -> step -> flush once (SHELL).
