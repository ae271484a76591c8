//! This codec's side of the comparison with Kafka's own serializers: see tests/clients/codec.
//!
//! ```text
//! codec_peer apis               key, first and last version of every API
//! codec_peer emit COUNT SEED    messages that went through the codec, as frames on standard output
//! codec_peer judge COUNT        frames from standard input must come out of the codec unchanged
//! codec_peer facts              the schema files as lines, to compare with Kafka's definitions
//! ```
//!
//! A frame: a 32-bit length of what follows, key (16 bits), version (16 bits), direction (8 bits, 1
//! for a response), body. `RINGLOG_SCHEMA` names another folder of schema files.

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/wire/draw.rs"]
mod draw;
#[allow(dead_code, reason = "the build script uses the rest of it")]
#[path = "../codegen/schema.rs"]
mod schema;

use bytes::Bytes;
use draw::{Fill, Plan, draw};
use net::wire::api::{ApiKey, TABLE, recode};
use net::wire::{Reader, RequestHeader, Writer, encode_response_header};
use schema::{Api, Field, Kind, Struct, struct_name};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;

/// Wrong messages shown in full.
const SHOWN_MAX: usize = 10;

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse().ok());
    match (words.first().map(String::as_str), number(1), number(2)) {
        (Some("apis"), ..) => apis(),
        (Some("emit"), Some(count), Some(seed)) => emit(count, seed)?,
        (Some("judge"), Some(count), _) => {
            return judge(usize::try_from(count).map_err(io::Error::other)?);
        }
        (Some("facts"), ..) => facts()?,
        _ => {
            eprintln!("codec_peer apis | emit COUNT SEED | judge COUNT | facts");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn apis() {
    for info in TABLE {
        println!("{} {} {}", info.key.to_wire(), info.min, info.max);
    }
}

fn schemas() -> io::Result<Vec<Api>> {
    let standard = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");
    let folder = std::env::var("RINGLOG_SCHEMA").unwrap_or_else(|_| standard.to_owned());
    let mut apis = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        apis.push(schema::parse(
            &path.display().to_string(),
            &std::fs::read_to_string(&path)?,
        ));
    }
    apis.sort_by_key(|api| api.key);
    Ok(apis)
}

fn key(number: i16) -> io::Result<ApiKey> {
    ApiKey::from_wire(number).ok_or_else(|| io::Error::other(format!("unknown key {number}")))
}

fn through(key: ApiKey, version: i16, response: bool, body: &Bytes) -> Result<Bytes, String> {
    let mut reader = Reader::new(body.clone());
    let mut writer = Writer::new();
    recode(key, version, response, &mut reader, Some(&mut writer)).map_err(|e| e.to_string())?;
    match (reader.remaining(), writer.lost()) {
        (0, None) => Ok(writer.into_bytes()),
        (left, lost) => Err(format!("{left} bytes left over, lost {lost:?}")),
    }
}

fn emit(count: u64, seed: u64) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for api in schemas()? {
        for version in api.versions.clone() {
            for (response, index) in (0..2 * count).map(|index| (index % 2 == 1, index / 2)) {
                let fill = match index % 8 {
                    0 => Fill::Full,
                    1 => Fill::Nulls,
                    _ => Fill::Random,
                };
                let plan = Plan::new(response, version, fill, seed.wrapping_add(index));
                let drawn = Bytes::from(draw(&api, plan).bytes);
                let body = through(key(api.key)?, version, response, &drawn)
                    .map_err(|why| io::Error::other(format!("{} {plan:?}: {why}", api.name)))?;
                let length = u32::try_from(body.len() + 5).map_err(io::Error::other)?;
                out.write_all(&length.to_be_bytes())?;
                out.write_all(&api.key.to_be_bytes())?;
                out.write_all(&version.to_be_bytes())?;
                out.write_all(&[u8::from(response)])?;
                out.write_all(&body)?;
            }
        }
    }
    out.flush()
}

fn judge(count: usize) -> io::Result<ExitCode> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut seen: BTreeMap<(i16, i16, bool), usize> = BTreeMap::new();
    let (mut messages, mut wrong) = (0_usize, 0_usize);
    while !input.fill_buf()?.is_empty() {
        let mut head = [0; 9];
        input.read_exact(&mut head)?;
        let [a, b, c, d, k0, k1, v0, v1, direction] = head;
        let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize - 5];
        input.read_exact(&mut body)?;
        let (number, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        let (response, body) = (direction == 1, Bytes::from(body));
        let verdict = through(key(number)?, version, response, &body);
        messages += 1;
        *seen.entry((number, version, response)).or_default() += 1;
        if verdict.as_ref() != Ok(&body) {
            wrong += 1;
            if wrong <= SHOWN_MAX {
                let name = key(number)?.info().name;
                println!("{name} v{version} response={response}: {verdict:?} for {body:?}");
            }
        }
    }
    for info in TABLE {
        for place in (info.min..=info.max).flat_map(|v| [(v, false), (v, true)]) {
            let (version, response) = place;
            let found = seen.get(&(info.key.to_wire(), version, response)).copied();
            if found.unwrap_or(0) < count {
                println!(
                    "{} v{version} response={response}: fewer than {count}",
                    info.name
                );
                wrong += 1;
            }
        }
    }
    let kinds = format!("{} keys, versions and directions", seen.len());
    println!("judged by ringlog: {messages} messages of {kinds}, {wrong} wrong");
    Ok(if wrong == 0 && messages > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn facts() -> io::Result<()> {
    for api in schemas()? {
        for (root, direction) in [("Request", "request"), ("Response", "response")] {
            let start = format!("{} {direction} ", api.key);
            struct_facts(&api, api.find(root), &start);
            match api.flexible_from {
                i16::MAX => println!("{start}flexible none"),
                from => println!("{start}flexible {from}+"),
            }
        }
        for version in api.versions.clone() {
            header_facts(key(api.key)?, version);
        }
    }
    Ok(())
}

/// The bytes of both headers, for correlation id 7 and client id "c".
fn header_facts(api_key: ApiKey, api_version: i16) {
    let header = RequestHeader {
        api_key,
        api_version,
        correlation_id: 7,
        client_id: Some("c".into()),
    };
    let (mut request, mut response) = (Writer::new(), Writer::new());
    header.encode(&mut request);
    encode_response_header(&mut response, api_key, api_version, 7);
    let (request, response) = (request.into_bytes(), response.into_bytes());
    let key = api_key.to_wire();
    println!("{key} v{api_version} headers {request:x} {response:x}");
}

fn struct_facts(api: &Api, found: &Struct, path: &str) {
    for field in &found.fields {
        let here = format!("{path}/{}", field.name);
        println!("{here} {}", field_facts(field));
        if let Some(inner) = struct_name(&field.kind) {
            struct_facts(api, api.find(inner), &here);
        }
    }
}

fn field_facts(field: &Field) -> String {
    let mut line = format!("{} {}", kind(&field.kind), range(&field.versions));
    if let Some(nullable) = &field.nullable {
        line += &format!(" null {}", range(nullable));
    }
    if let Some(default) = &field.default {
        line += &format!(" = {default}");
    }
    if let Some(tag) = field.tag {
        line += &format!(" tag {tag}");
    }
    line + if field.ignorable { " ignorable" } else { "" }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Struct(_) => "struct".to_owned(),
        Kind::Array(element) => format!("[]{}", self::kind(element)),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

fn range(range: &RangeInclusive<i16>) -> String {
    match (range.start(), range.end()) {
        (from, &i16::MAX) => format!("{from}+"),
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }
}
