//! Kafka's error codes in words (`Errors.java`, 4.2): those that a command can meet.

use super::failure::Failure;
use net::wire::Str;

/// Number, Kafka's name, what it means to a person.
const CODES: &[(i16, &str, &str)] = &[
    (
        -1,
        "UNKNOWN_SERVER_ERROR",
        "the broker met an error it did not expect; see its log",
    ),
    (
        1,
        "OFFSET_OUT_OF_RANGE",
        "there is no such offset in the partition",
    ),
    (2, "CORRUPT_MESSAGE", "the records arrived damaged"),
    (
        3,
        "UNKNOWN_TOPIC_OR_PARTITION",
        "there is no such topic or partition",
    ),
    (
        5,
        "LEADER_NOT_AVAILABLE",
        "the partition has no leader at the moment",
    ),
    (
        6,
        "NOT_LEADER_OR_FOLLOWER",
        "the partition has moved to another broker",
    ),
    (7, "REQUEST_TIMED_OUT", "the broker did not finish in time"),
    (
        10,
        "MESSAGE_TOO_LARGE",
        "the records are larger than the topic's max.message.bytes",
    ),
    (
        14,
        "COORDINATOR_LOAD_IN_PROGRESS",
        "the coordinator is still starting",
    ),
    (
        15,
        "COORDINATOR_NOT_AVAILABLE",
        "the coordinator is not available",
    ),
    (
        16,
        "NOT_COORDINATOR",
        "the group has moved to another broker",
    ),
    (
        17,
        "INVALID_TOPIC_EXCEPTION",
        "that is not a legal topic name",
    ),
    (19, "NOT_ENOUGH_REPLICAS", "too few replicas are in sync"),
    (
        22,
        "ILLEGAL_GENERATION",
        "the group has gone on to another generation",
    ),
    (24, "INVALID_GROUP_ID", "that is not a legal group id"),
    (
        25,
        "UNKNOWN_MEMBER_ID",
        "the group has members; it must be empty for that",
    ),
    (27, "REBALANCE_IN_PROGRESS", "the group is rebalancing"),
    (
        29,
        "TOPIC_AUTHORIZATION_FAILED",
        "access to the topic is not allowed",
    ),
    (
        35,
        "UNSUPPORTED_VERSION",
        "the broker is too old or too new for this command",
    ),
    (
        36,
        "TOPIC_ALREADY_EXISTS",
        "there is a topic of that name already",
    ),
    (
        37,
        "INVALID_PARTITIONS",
        "that number of partitions is not possible",
    ),
    (
        38,
        "INVALID_REPLICATION_FACTOR",
        "there are fewer brokers than replicas asked for",
    ),
    (40, "INVALID_CONFIG", "a setting is not valid"),
    (42, "INVALID_REQUEST", "the broker refuses the request"),
    (
        44,
        "POLICY_VIOLATION",
        "a policy of the broker forbids that",
    ),
    (
        45,
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "records before these are missing",
    ),
    (
        47,
        "INVALID_PRODUCER_EPOCH",
        "another producer has taken over",
    ),
    (
        56,
        "KAFKA_STORAGE_ERROR",
        "the broker cannot write to its disk; see its log",
    ),
    (
        60,
        "REASSIGNMENT_IN_PROGRESS",
        "the partition is being moved",
    ),
    (
        68,
        "NON_EMPTY_GROUP",
        "the group has members; stop them first",
    ),
    (69, "GROUP_ID_NOT_FOUND", "there is no such group"),
    (
        73,
        "TOPIC_DELETION_DISABLED",
        "the broker's delete.topic.enable forbids that",
    ),
    (
        78,
        "OFFSET_NOT_AVAILABLE",
        "the partition's end is not known yet",
    ),
    (
        86,
        "GROUP_SUBSCRIBED_TO_TOPIC",
        "the group is reading that topic",
    ),
    (
        87,
        "INVALID_RECORD",
        "the topic does not accept a record like that",
    ),
    (100, "UNKNOWN_TOPIC_ID", "the topic is gone"),
];

/// What an error code says, with the broker's own words if it gave some.
pub(crate) fn words(code: i16, said: Option<&Str>) -> String {
    let known = CODES.iter().find(|(number, ..)| *number == code);
    let said = said
        .map(|text| text.as_str())
        .filter(|text| !text.is_empty());
    match (known, said) {
        (Some((_, name, _)), Some(said)) => format!("{said} ({name})"),
        (Some((_, name, meaning)), None) => format!("{meaning} ({name})"),
        (None, Some(said)) => format!("{said} (error {code})"),
        (None, None) => format!("error {code}"),
    }
}

/// `Ok` for 0, otherwise a failure about `what`.
pub(crate) fn check(what: &str, code: i16, said: Option<&Str>) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        _ => Err(Failure::new(format!("{what}: {}", words(code, said)))),
    }
}

/// Worth another attempt after asking where things are now.
pub(crate) const fn is_passing(code: i16) -> bool {
    matches!(
        code,
        5 | 6 | 7 | 9 | 14 | 15 | 16 | 19 | 20 | 56 | 72 | 74 | 75 | 78
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_words_come_first() {
        let said = Str::from("Partition count must be larger");
        let told = words(37, Some(&said));
        assert_eq!(told, "Partition count must be larger (INVALID_PARTITIONS)");
        assert!(words(37, None).ends_with("(INVALID_PARTITIONS)"));
        assert_eq!(words(999, None), "error 999");
        assert!(check("t", 0, None).is_ok());
    }

    #[test]
    fn every_code_is_listed_once_and_in_order() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
