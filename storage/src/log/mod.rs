//! One partition: tail, segments, read plan, roll, retention.
