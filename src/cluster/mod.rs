//! Metadata: command -> records -> image.
