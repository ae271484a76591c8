//! ApiVersions (key 18): KIP-35, 511, 584.

use net::wire::api::{ApiKey, TABLE};
use net::wire::api_versions::{ApiVersion, Request, Response};

use super::error::Code;
use super::{Cx, Handled};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let named = cx.version() < 3
        || (is_name(&request.client_software_name) && is_name(&request.client_software_version));
    let response = if named {
        Response {
            api_keys: api_keys(),
            ..Default::default()
        }
    } else {
        Response {
            error_code: Code::INVALID_REQUEST.0,
            ..Default::default()
        }
    };
    to.reply(|w, version| response.encode(w, version))
}

fn api_keys() -> Vec<ApiVersion> {
    let row = |info: &net::wire::api::ApiInfo| ApiVersion {
        api_key: info.key.to_wire(),
        min_version: info.advertised_min,
        max_version: info.max,
    };
    TABLE.iter().map(row).collect()
}

/// A version from the future: answered in version 0, with our own range, so that the client can
/// ask again (KIP-511).
pub(super) fn unsupported() -> Handled {
    let info = ApiKey::ApiVersions.info();
    let own = ApiVersion {
        api_key: info.key.to_wire(),
        min_version: info.advertised_min,
        max_version: info.max,
    };
    let response = Response {
        error_code: Code::UNSUPPORTED_VERSION.0,
        api_keys: vec![own],
        ..Default::default()
    };
    let mut w = net::wire::Writer::new();
    response.encode(&mut w, 0);
    Handled::Reply(w.into_parts())
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn software_names() {
        for name in ["a", "apache-kafka-java", "4.2.0", "a-.b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", "a_b", "ä", "."] {
            assert!(!is_name(name), "{name}");
        }
    }
}
