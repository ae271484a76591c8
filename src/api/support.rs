//! The protocol support table: what is served, and what of Kafka 4.2 is not.

use std::fmt::Write;

use net::wire::api::TABLE;

/// APIs that Kafka 4.2.0 advertises to clients and this broker does not: key, name, why.
const ABSENT: &[(i16, &str, &str)] = &[
    (
        17,
        "SaslHandshake",
        "no authentication yet; listeners refuse to start with SASL",
    ),
    (24, "AddPartitionsToTxn", TRANSACTIONS),
    (25, "AddOffsetsToTxn", TRANSACTIONS),
    (26, "EndTxn", TRANSACTIONS),
    (27, "WriteTxnMarkers", TRANSACTIONS),
    (28, "TxnOffsetCommit", TRANSACTIONS),
    (29, "DescribeAcls", ACLS),
    (30, "CreateAcls", ACLS),
    (31, "DeleteAcls", ACLS),
    (
        34,
        "AlterReplicaLogDirs",
        "partitions stay in the log directory they were created in",
    ),
    (36, "SaslAuthenticate", "no authentication yet"),
    (38, "CreateDelegationToken", "no authentication yet"),
    (39, "RenewDelegationToken", "no authentication yet"),
    (40, "ExpireDelegationToken", "no authentication yet"),
    (41, "DescribeDelegationToken", "no authentication yet"),
    (43, "ElectLeaders", ONE_NODE),
    (45, "AlterPartitionReassignments", ONE_NODE),
    (46, "ListPartitionReassignments", ONE_NODE),
    (48, "DescribeClientQuotas", "no quotas yet"),
    (49, "AlterClientQuotas", "no quotas yet"),
    (50, "DescribeUserScramCredentials", "no authentication yet"),
    (51, "AlterUserScramCredentials", "no authentication yet"),
    (57, "UpdateFeatures", "no features to update"),
    (64, "UnregisterBroker", ONE_NODE),
    (65, "DescribeTransactions", TRANSACTIONS),
    (66, "ListTransactions", TRANSACTIONS),
    (
        68,
        "ConsumerGroupHeartbeat",
        "groups use the classic protocol",
    ),
    (
        69,
        "ConsumerGroupDescribe",
        "groups use the classic protocol",
    ),
    (76, "ShareGroupHeartbeat", SHARE),
    (77, "ShareGroupDescribe", SHARE),
    (78, "ShareFetch", SHARE),
    (79, "ShareAcknowledge", SHARE),
    (80, "AddRaftVoter", ONE_NODE),
    (81, "RemoveRaftVoter", ONE_NODE),
    (83, "InitializeShareGroupState", SHARE),
    (84, "ReadShareGroupState", SHARE),
    (85, "WriteShareGroupState", SHARE),
    (86, "DeleteShareGroupState", SHARE),
    (87, "ReadShareGroupStateSummary", SHARE),
    (88, "StreamsGroupHeartbeat", STREAMS),
    (89, "StreamsGroupDescribe", STREAMS),
    (90, "DescribeShareGroupOffsets", SHARE),
    (91, "AlterShareGroupOffsets", SHARE),
    (92, "DeleteShareGroupOffsets", SHARE),
];

const TRANSACTIONS: &str = "no transactions yet";
const ACLS: &str = "no authorizer yet";
const ONE_NODE: &str = "there is one node";
const SHARE: &str = "no share groups yet";
const STREAMS: &str = "no streams groups yet";

/// Requests of served APIs that are refused, or have nothing to tell, because what they ask for is
/// not built.
const REFUSED: &[(&str, &str)] = &[
    (
        "FindCoordinator for a transaction or a share group",
        "INVALID_REQUEST (42)",
    ),
    (
        "InitProducerId with a transactional id",
        "INVALID_REQUEST (42)",
    ),
    ("Produce of a transactional batch", "INVALID_TXN_STATE (48)"),
    ("`cleanup.policy` with `compact`", "INVALID_CONFIG (40)"),
    ("`remote.storage.enable=true`", "INVALID_CONFIG (40)"),
    ("Fetch as a replica", "NOT_LEADER_OR_FOLLOWER (6)"),
    (
        "AlterConfigs or IncrementalAlterConfigs of a group, of client metrics, or of a broker's \
         loggers",
        "INVALID_REQUEST (42)",
    ),
    (
        "DescribeConfigs of a group, of client metrics, or of the broker's loggers",
        "an empty list: what their settings would act on is not built, so no defaults are shown \
         as if they held",
    ),
];

/// The page `docs/protocol.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Protocol support\n\n\
         Generated from the API table in the code; `cargo test --test protocol` compares it. \
         Version ranges are those that ApiVersions advertises, as Apache Kafka 4.2.0 does.\n\n\
         | key | API | advertised | served |\n|---|---|---|---|\n",
    );
    for info in TABLE {
        let (key, name) = (info.key.to_wire(), info.name);
        let (advertised, min, max) = (info.advertised_min, info.min, info.max);
        let _ = writeln!(
            page,
            "| {key} | {name} | {advertised}-{max} | {min}-{max} |"
        );
    }
    page.push_str("\n## Refused\n\n| request | answer |\n|---|---|\n");
    for (request, answer) in REFUSED {
        let _ = writeln!(page, "| {request} | {answer} |");
    }
    page.push_str(
        "\n## Not advertised\n\nA client that sends one of these anyway is disconnected, as Kafka \
         does with a key it does not know.\n\n| key | API | why |\n|---|---|---|\n",
    );
    for (key, name, why) in ABSENT {
        let _ = writeln!(page, "| {key} | {name} | {why} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_api_is_both_served_and_absent() {
        for (key, name, _) in ABSENT {
            assert!(
                TABLE.iter().all(|info| info.key.to_wire() != *key),
                "{name}"
            );
        }
    }
}
