//! DescribeCluster (key 60): KIP-700, 919, 1073.

use net::wire::Str;
use net::wire::describe_cluster::{DescribeClusterBroker, Request, Response};

use crate::shard::endpoints::Endpoint;

use super::error::Code;
use super::{Cx, Handled, topics};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let brokers = cx.brokers();
    let mut response = Response {
        endpoint_type: request.endpoint_type,
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {
            response.cluster_id = Str::from(&*cx.image.cluster_id);
            response.controller_id = brokers.controller().0;
            let broker = |(broker_id, endpoint): (i32, Endpoint)| DescribeClusterBroker {
                broker_id,
                host: endpoint.host,
                port: endpoint.port,
                rack: cx.settings.rack(),
                is_fenced: false,
            };
            response.brokers = brokers.all().map(broker).collect();
        }
        CONTROLLERS => {
            // KIP-919: the endpoints of controllers are asked of controllers only.
            response.endpoint_type = BROKERS;
            response.error_code = Code::MISMATCHED_ENDPOINT_TYPE.0;
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an \
                           endpoint of type CONTROLLER";
            response.error_message = Some(Str::from_static(message));
        }
        other => {
            response.endpoint_type = BROKERS;
            response.error_code = Code::UNSUPPORTED_ENDPOINT_TYPE.0;
            response.error_message = Some(format!("Unsupported endpoint type {other}").into());
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = topics::CLUSTER_OPERATIONS;
    }
    to.reply(|w, version| response.encode(w, version))
}
