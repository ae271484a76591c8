//! Admission, high watermark, waiters.
