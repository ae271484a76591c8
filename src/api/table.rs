//! Which handler serves which API.

use net::wire::api::ApiKey;
use net::wire::{self, Reader};

use super::{Cx, Handled};

/// Decodes each API's request in the version of the header and hands it to the API's file.
macro_rules! serve {
    ($cx:ident, $reader:ident, $($key:ident => $module:ident,)*) => {
        match $cx.header.api_key {
            $(ApiKey::$key => {
                match wire::$module::Request::decode(&mut $reader, $cx.header.api_version) {
                    Ok(request) => super::$module::handle($cx, request),
                    Err(error) => undecodable($cx, &error),
                }
            })*
        }
    };
}

/// Serves one request, whose body `reader` stands before.
pub fn handle(cx: &mut Cx<'_>, mut reader: Reader) -> Handled {
    if cx.header.api_key == ApiKey::ApiVersions
        && !ApiKey::ApiVersions.info().supports(cx.version())
    {
        return super::api_versions::unsupported();
    }
    serve! { cx, reader,
        Produce => produce,
        Fetch => fetch,
        ListOffsets => list_offsets,
        Metadata => metadata,
        OffsetCommit => offset_commit,
        OffsetFetch => offset_fetch,
        FindCoordinator => find_coordinator,
        JoinGroup => join_group,
        Heartbeat => heartbeat,
        LeaveGroup => leave_group,
        SyncGroup => sync_group,
        DescribeGroups => describe_groups,
        ListGroups => list_groups,
        ApiVersions => api_versions,
        CreateTopics => create_topics,
        DeleteTopics => delete_topics,
        DeleteRecords => delete_records,
        InitProducerId => init_producer_id,
        OffsetForLeaderEpoch => offset_for_leader_epoch,
        DescribeConfigs => describe_configs,
        AlterConfigs => alter_configs,
        DescribeLogDirs => describe_log_dirs,
        CreatePartitions => create_partitions,
        DeleteGroups => delete_groups,
        IncrementalAlterConfigs => incremental_alter_configs,
        OffsetDelete => offset_delete,
        DescribeQuorum => describe_quorum,
        DescribeCluster => describe_cluster,
        DescribeProducers => describe_producers,
        ListConfigResources => list_config_resources,
        DescribeTopicPartitions => describe_topic_partitions,
    }
}

/// Kafka closes the connection of a client whose request it cannot parse.
fn undecodable(cx: &Cx<'_>, error: &wire::DecodeError) -> Handled {
    let (key, version) = (cx.header.api_key, cx.header.api_version);
    Handled::Close(format!(
        "{key:?} request version {version} cannot be parsed: {error}"
    ))
}
