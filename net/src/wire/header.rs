//! Request and response headers (KIP-482, KIP-511).

use super::api::{ApiKey, check_version};
use super::codec::Wire;
use super::error::DecodeError;
use super::reader::Reader;
use super::text::Str;
use super::writer::Writer;

/// What stands before every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    /// Supported by the API, except for ApiVersions: a version from the future must be answered
    /// with error 35 in version 0 (KIP-511), so it is let through.
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header and leaves the reader at the body.
    ///
    /// # Errors
    /// Any [`DecodeError`]; Kafka closes the connection without a reply for all of them.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        r.set_flexible(false);
        let key = i16::read(r, 0)?;
        let api_version = i16::read(r, 0)?;
        let api_key = ApiKey::from_wire(key).ok_or(DecodeError::UnknownApi(key))?;
        if api_key != ApiKey::ApiVersions {
            check_version(key, api_version)?;
        }
        let correlation_id = i32::read(r, 0)?;
        // The client id keeps its two-byte length in flexible headers, so that any broker can
        // read the header of an ApiVersions request.
        let client_id = Wire::read(r, 0)?;
        r.set_flexible(api_version >= api_key.info().flexible_from);
        r.skip_tags()?;
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header that belongs to this API and version.
    pub fn encode(&self, w: &mut Writer) {
        w.set_flexible(false);
        self.api_key.to_wire().write(w, 0);
        self.api_version.write(w, 0);
        self.correlation_id.write(w, 0);
        self.client_id.write(w, 0);
        w.set_flexible(self.api_version >= self.api_key.info().flexible_from);
        w.no_tags();
    }
}

/// Writes what stands before the reply to a request of this API and version.
pub fn encode_response_header(w: &mut Writer, key: ApiKey, version: i16, correlation_id: i32) {
    w.put(&correlation_id.to_be_bytes());
    w.set_flexible(has_tags(key, version));
    w.no_tags();
}

/// How long [`encode_response_header`] gets, in bytes.
pub(crate) fn response_header_bytes(key: ApiKey, version: i16) -> usize {
    size_of::<i32>() + usize::from(has_tags(key, version))
}

/// The header of an ApiVersions reply is never flexible: its reader does not know yet what the
/// broker speaks.
fn has_tags(key: ApiKey, version: i16) -> bool {
    key != ApiKey::ApiVersions && version >= key.info().flexible_from
}
