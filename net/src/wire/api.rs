//! Which APIs and versions there are.

use super::error::DecodeError;
pub use super::messages::{ApiKey, recode};

/// What is known of one API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiInfo {
    pub key: ApiKey,
    /// Kafka's name, as its tools show it.
    pub name: &'static str,
    /// The first version decoded.
    pub min: i16,
    /// The last version decoded and advertised.
    pub max: i16,
    /// The first version with compact lengths and tagged fields (KIP-482); `i16::MAX` if none.
    pub flexible_from: i16,
    /// The first version told to clients. Lower than `min` for Produce only: librdkafka needs to
    /// see version 0 there (KAFKA-18659), though no broker accepts it.
    pub advertised_min: i16,
}

/// Every API, by ascending key.
pub const TABLE: &[ApiInfo] = super::messages::API_TABLE;

impl ApiKey {
    /// The API with this number on the wire.
    #[must_use]
    pub fn from_wire(key: i16) -> Option<Self> {
        find(key).map(|info| info.key)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> i16 {
        self as i16
    }

    #[must_use]
    pub fn info(self) -> &'static ApiInfo {
        find(self.to_wire()).expect("the table has a row for every key")
    }
}

impl ApiInfo {
    #[must_use]
    pub const fn supports(&self, version: i16) -> bool {
        version >= self.min && version <= self.max
    }
}

fn find(key: i16) -> Option<&'static ApiInfo> {
    let index = TABLE
        .binary_search_by_key(&key, |info| info.key.to_wire())
        .ok()?;
    TABLE.get(index)
}

pub(crate) fn check_version(key: i16, version: i16) -> Result<(), DecodeError> {
    let info = find(key).ok_or(DecodeError::UnknownApi(key))?;
    match info.supports(version) {
        true => Ok(()),
        false => Err(DecodeError::UnsupportedVersion { key, version }),
    }
}
