//! The boundary between the wire and the domain: one file per API key.
