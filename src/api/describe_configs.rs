//! DescribeConfigs (key 32): KIP-133, 226 (synonyms), 569 (types and documentation).

use net::wire::Str;
use net::wire::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    DescribeConfigsSynonym, Request, Response,
};

use crate::cluster::name;
use crate::config::describe::{self, Described};
use crate::config::layers::Source;
use crate::config::setting::Kind;

use super::alter_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::error::{self, Code};
use super::{Cx, Handled};

type Refused = (Code, String);

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    for resource in &request.resources {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match described(cx, resource) {
            Ok(entries) => {
                let entry = |entry| shown(entry, &request);
                result.configs = entries.into_iter().map(entry).collect();
            }
            Err((code, message)) => {
                result.error_code = code.0;
                result.error_message = Some(message.into());
            }
        }
        response.results.push(result);
    }
    to.reply(|w, version| response.encode(w, version))
}

fn described(cx: &Cx<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refused> {
    let layers = cx.settings.layers(cx.image);
    let names: Option<Vec<String>> = resource
        .configuration_keys
        .as_ref()
        .map(|names| names.iter().map(Str::to_string).collect());
    let names = names.as_deref();
    let wanted = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            name::check(wanted).map_err(|error| (Code::INVALID_TOPIC, error.message))?;
            let unknown = || (Code::UNKNOWN_TOPIC_OR_PARTITION, String::new());
            let topic = cx.image.topic(wanted).ok_or_else(unknown)?;
            Ok(describe::topic(layers, topic, names))
        }
        BROKER if wanted.is_empty() => Ok(describe::all_brokers(layers, names)),
        BROKER => {
            own_broker(cx, wanted)?;
            Ok(describe::broker(layers, names))
        }
        BROKER_LOGGER => own_broker(cx, wanted).map(|()| Vec::new()),
        CLIENT_METRICS if wanted.is_empty() => Err((
            Code::INVALID_REQUEST,
            "Client metrics subscription name must not be empty".to_owned(),
        )),
        GROUP if wanted.is_empty() => Err((
            Code::INVALID_REQUEST,
            "Group name must not be empty".to_owned(),
        )),
        CLIENT_METRICS | GROUP => Ok(Vec::new()),
        _ => Err((Code::INVALID_REQUEST, error::INVALID_REQUEST.to_owned())),
    }
}

fn own_broker(cx: &Cx<'_>, name: &str) -> Result<(), Refused> {
    let own = cx.image.node_id;
    match name.parse::<i32>() {
        Ok(id) if cx.settings.is_node(id, own) => Ok(()),
        Ok(_) => {
            let message = format!(
                "Unexpected broker id, expected {own} or empty string, but received {name}"
            );
            Err((Code::INVALID_REQUEST, message))
        }
        Err(_) => {
            let message = format!("Broker id must be an integer, but it is: {name}");
            Err((Code::INVALID_REQUEST, message))
        }
    }
}

fn shown(entry: Described, request: &Request) -> DescribeConfigsResourceResult {
    let synonym = |synonym: describe::Synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: source(synonym.source),
    };
    let synonyms = if request.include_synonyms {
        entry.synonyms
    } else {
        Vec::new()
    };
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: source(entry.source),
        is_sensitive: entry.sensitive,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: kind(entry.kind),
        documentation: request.include_documentation.then(|| Str::from(entry.doc)),
    }
}

/// `DescribeConfigsResponse.ConfigSource`.
pub(super) const fn source(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::Broker => 2,
        Source::BrokerDefault => 3,
        Source::Static => 4,
        Source::Default => 5,
    }
}

/// `DescribeConfigsResponse.ConfigType`.
const fn kind(kind: Kind) -> i8 {
    match kind {
        Kind::Unknown => 0,
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
