//! Sparse offset and time index of one segment.
