//! Topic names: which are legal, which collide, which are internal.

use super::error::{Error, ErrorKind};
use crate::limits::TOPIC_NAME_BYTES_MAX;

/// The topic of committed offsets and group metadata.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Kafka's internal topics: hidden from pattern subscriptions, guarded against foreign writes.
const INTERNAL: [&str; 3] = [
    CONSUMER_OFFSETS,
    "__transaction_state",
    "__share_group_state",
];

/// Whether Kafka calls this topic internal (`Topic.isInternal`, 4.2).
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Checks a name as `Topic.validate` does (4.2).
///
/// # Errors
/// [`ErrorKind::InvalidTopicName`], with Kafka's words after its `Topic name is invalid: `.
pub fn check(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." {
        "'.' is not allowed".to_owned()
    } else if name == ".." {
        "'..' is not allowed".to_owned()
    } else if name.encode_utf16().count() > TOPIC_NAME_BYTES_MAX {
        format!(
            "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
        )
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )
    } else {
        return Ok(());
    };
    let message = format!("Topic name is invalid: {why}");
    Err(Error::new(ErrorKind::InvalidTopicName, message))
}

const fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Two names collide when they differ only in '.' and '_': Kafka's metric names merge the two.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether the name can collide with another one at all.
pub fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        for name in ["a", "A.b_c-9", "...", "__x", "-", &"x".repeat(249)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            let kind = check(name).map_err(|error| error.kind);
            assert_eq!(kind, Err(ErrorKind::InvalidTopicName), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_are_one() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }
}
