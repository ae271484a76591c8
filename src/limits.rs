//! Every bound of the broker has its name here, ending in `_MAX`.
