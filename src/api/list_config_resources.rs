//! ListConfigResources (key 74): KIP-1000, 1142.

use net::wire::Str;
use net::wire::list_config_resources::{ConfigResource, Request, Response};

use crate::shard::endpoints::Endpoint;

use super::alter_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::error::Code;
use super::{Cx, Handled};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    // Version 0 asks for client metrics only, of which there are none here.
    let all = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let kinds = match (to.version, request.resource_types.is_empty()) {
        (0, _) => vec![CLIENT_METRICS],
        (_, true) => all.to_vec(),
        (_, false) => request.resource_types,
    };
    if kinds.iter().any(|kind| !all.contains(kind)) {
        response.error_code = Code::UNSUPPORTED_VERSION.0;
        return to.reply(|w, version| response.encode(w, version));
    }
    let brokers = cx.brokers();
    for kind in [BROKER, BROKER_LOGGER] {
        if kinds.contains(&kind) {
            let broker = |(id, _): (i32, Endpoint)| ConfigResource {
                resource_name: Str::from(id.to_string()),
                resource_type: kind,
            };
            response.config_resources.extend(brokers.all().map(broker));
        }
    }
    if kinds.contains(&TOPIC) {
        let topic = |topic: &std::sync::Arc<crate::cluster::image::Topic>| ConfigResource {
            resource_name: Str::from(&*topic.name),
            resource_type: TOPIC,
        };
        response
            .config_resources
            .extend(cx.image.topics().map(topic));
    }
    to.reply(|w, version| response.encode(w, version))
}
