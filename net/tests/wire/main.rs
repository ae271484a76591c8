//! The codec against the schema files, against another codec, and against hostile bytes.

mod draw;
mod hostile;
mod memory;
mod peer;
mod round_trip;
#[allow(dead_code, reason = "the build script uses the rest of it")]
#[path = "../../codegen/schema.rs"]
mod schema;

use bytes::Bytes;
use draw::{Fill, Plan, draw};
use net::wire::api::{ApiKey, recode};
use net::wire::{DecodeError, Reader, Writer};
use schema::Api;
use std::path::Path;

/// Every schema file, parsed.
fn apis() -> Vec<Api> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut apis: Vec<Api> = std::fs::read_dir(folder)
        .expect("the folder of schema files")
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let text = std::fs::read_to_string(&path).expect("a readable schema file");
            schema::parse(&path.display().to_string(), &text)
        })
        .collect();
    apis.sort_by_key(|api| api.key);
    apis
}

/// Calls `check` for every API, version and direction.
fn for_each_message(mut check: impl FnMut(&Api, i16, bool)) {
    for api in apis() {
        for version in api.versions.clone() {
            check(&api, version, false);
            check(&api, version, true);
        }
    }
}

fn key_of(api: &Api) -> ApiKey {
    ApiKey::from_wire(api.key).expect("an API of the table")
}

/// Decodes and encodes again; the whole input must be read and nothing lost.
fn again(api: &Api, plan: Plan, bytes: Vec<u8>) -> Result<Bytes, DecodeError> {
    let mut reader = Reader::new(bytes.into());
    let mut writer = Writer::new();
    recode(
        key_of(api),
        plan.version,
        plan.response,
        &mut reader,
        Some(&mut writer),
    )?;
    assert_eq!(writer.lost(), None, "{} {plan:?}", api.name);
    assert_eq!(reader.remaining(), 0, "{} {plan:?}", api.name);
    Ok(writer.into_bytes())
}

/// Plans of every kind of message, for one API, version and direction.
fn plans(version: i16, response: bool, count: u64) -> impl Iterator<Item = Plan> {
    (0..count).map(move |seed| {
        let fill = match seed % 4 {
            0 => Fill::Full,
            1 => Fill::Nulls,
            _ => Fill::Random,
        };
        Plan::new(response, version, fill, seed)
    })
}

fn drawn(api: &Api, plan: Plan) -> Vec<u8> {
    draw(api, plan).bytes
}
