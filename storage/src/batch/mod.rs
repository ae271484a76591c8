//! Record batch v2: parse, check, patch in place, build, recompress.
