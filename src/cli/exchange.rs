//! Which request gets which response, and up to which version commands speak it.

use net::wire::api::ApiKey;
use net::wire::{
    DecodeError, Reader, Writer, api_versions, create_partitions, create_topics, delete_groups,
    delete_topics, describe_configs, describe_groups, fetch, find_coordinator,
    incremental_alter_configs, init_producer_id, list_groups, list_offsets, metadata,
    offset_commit, offset_fetch, produce,
};

pub(crate) trait Exchange {
    const KEY: ApiKey;
    /// Later versions name topics by their ids only.
    const VERSION_MAX: i16;
    type Response;

    fn encode(&self, writer: &mut Writer, version: i16);
    fn decode(reader: &mut Reader, version: i16) -> Result<Self::Response, DecodeError>;
}

macro_rules! exchange {
    ($($key:ident $module:ident $max:expr,)*) => {
        $(impl Exchange for $module::Request {
            const KEY: ApiKey = ApiKey::$key;
            const VERSION_MAX: i16 = $max;
            type Response = $module::Response;

            fn encode(&self, writer: &mut Writer, version: i16) {
                Self::encode(self, writer, version);
            }

            fn decode(reader: &mut Reader, version: i16) -> Result<Self::Response, DecodeError> {
                Self::Response::decode(reader, version)
            }
        })*
    };
}

exchange! {
    ApiVersions api_versions 3,
    CreatePartitions create_partitions i16::MAX,
    CreateTopics create_topics i16::MAX,
    DeleteGroups delete_groups i16::MAX,
    DeleteTopics delete_topics i16::MAX,
    DescribeConfigs describe_configs i16::MAX,
    DescribeGroups describe_groups i16::MAX,
    Fetch fetch 12,
    FindCoordinator find_coordinator i16::MAX,
    IncrementalAlterConfigs incremental_alter_configs i16::MAX,
    InitProducerId init_producer_id i16::MAX,
    ListGroups list_groups i16::MAX,
    ListOffsets list_offsets i16::MAX,
    Metadata metadata i16::MAX,
    OffsetCommit offset_commit 9,
    OffsetFetch offset_fetch 9,
    Produce produce 11,
}
