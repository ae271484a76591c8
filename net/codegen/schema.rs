//! The schema notation and its parser: what each message holds, in which versions.
//!
//! ```text
//! api 3 Metadata 0-13 flexible 9+          key, name, versions decoded, first flexible version
//! struct ReplicaState                      a struct that several fields share, fields below
//! request                                  fields of the request below, in wire order
//!   topics []MetadataRequestTopic 0+ null 1+
//!     name string 0+ null 10+              nested fields define the struct of the line above
//! response
//!   throttle_time_ms int32 3+ ignorable
//! ```
//!
//! A field line is `name type versions`, then in any order: `null VERSIONS` (where null is legal),
//! `= VALUE` (the default, otherwise zero, empty or false), `tag N` (a tagged field) and
//! `ignorable` (may be dropped silently in versions that lack it). `advertised N` on the `api` line
//! is a lower first version told to clients. Version ranges are Kafka's: `0+`, `3-9`, `4`.

use std::ops::RangeInclusive;

/// A field's wire type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Self>),
}

/// One field of a struct, in wire order.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) nullable: Option<RangeInclusive<i16>>,
    pub(crate) default: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) ignorable: bool,
}

/// A named list of fields; the messages themselves are the structs `Request` and `Response`.
#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// One API: its key, its versions and every struct of its two messages.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) advertised_min: i16,
    /// `i16::MAX` when no version is flexible.
    pub(crate) flexible_from: i16,
    pub(crate) structs: Vec<Struct>,
}

impl Field {
    pub(crate) fn has(&self, version: i16) -> bool {
        self.versions.contains(&version)
    }

    pub(crate) fn nullable_in(&self, version: i16) -> bool {
        self.nullable
            .as_ref()
            .is_some_and(|range| range.contains(&version))
    }

    pub(crate) fn default_is_null(&self) -> bool {
        self.default.as_deref() == Some("null")
    }
}

impl Api {
    /// The module's name: the API's name in snake case.
    pub(crate) fn module(&self) -> String {
        let mut module = String::new();
        for letter in self.name.chars() {
            if letter.is_uppercase() && !module.is_empty() {
                module.push('_');
            }
            module.extend(letter.to_lowercase());
        }
        module
    }

    pub(crate) fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|found| found.name == name)
            .unwrap_or_else(|| panic!("{}: no struct {name}", self.name))
    }
}

/// Parses one schema file. Panics with file and line on anything it does not understand: this runs
/// at build time and in tests only.
pub(crate) fn parse(file: &str, text: &str) -> Api {
    let mut parser = Parser::default();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        parser
            .line(indent, &words)
            .unwrap_or_else(|why| panic!("{file}:{}: {why}", number + 1));
    }
    let api = parser.api.unwrap_or_else(|| panic!("{file}: no api line"));
    check(&api).unwrap_or_else(|why| panic!("{file}: {why}"));
    api
}

#[derive(Default)]
struct Parser {
    api: Option<Api>,
    /// For each level of indentation, the index of the struct that takes the fields of that level.
    open: Vec<usize>,
}

impl Parser {
    fn line(&mut self, indent: usize, words: &[&str]) -> Result<(), String> {
        if words[0] == "api" {
            self.api = Some(api_line(words)?);
            return Ok(());
        }
        let api = self.api.as_mut().ok_or("the api line comes first")?;
        if indent == 0 {
            let name = match words {
                ["request"] => "Request",
                ["response"] => "Response",
                ["struct", name] => name,
                _ => return Err(format!("unknown line {words:?}")),
            };
            self.open = vec![push(api, name)];
            return Ok(());
        }
        let level = indent / 2;
        if !indent.is_multiple_of(2) || level > self.open.len() {
            return Err("bad indentation".to_owned());
        }
        self.open.truncate(level);
        let field = field_line(words)?;
        let owner = *self.open.last().ok_or("a field outside of a struct")?;
        let nested = struct_name(&field.kind).map(str::to_owned);
        api.structs[owner].fields.push(field);
        if let Some(name) = nested {
            let known = api.structs.iter().position(|known| known.name == name);
            self.open.push(known.unwrap_or_else(|| push(api, &name)));
        }
        Ok(())
    }
}

fn push(api: &mut Api, name: &str) -> usize {
    api.structs.push(Struct {
        name: name.to_owned(),
        fields: Vec::new(),
    });
    api.structs.len() - 1
}

fn api_line(words: &[&str]) -> Result<Api, String> {
    let [_, key, name, versions, rest @ ..] = words else {
        return Err("api KEY NAME VERSIONS ...".to_owned());
    };
    let versions = range(versions)?;
    let mut api = Api {
        key: number(key)?,
        name: (*name).to_owned(),
        advertised_min: *versions.start(),
        versions,
        flexible_from: i16::MAX,
        structs: Vec::new(),
    };
    for pair in rest.chunks(2) {
        match pair {
            ["advertised", min] => api.advertised_min = number(min)?,
            ["flexible", "none"] => {}
            ["flexible", from] => api.flexible_from = *range(from)?.start(),
            _ => return Err(format!("unknown words {pair:?}")),
        }
    }
    Ok(api)
}

fn field_line(words: &[&str]) -> Result<Field, String> {
    let [name, kind, versions, rest @ ..] = words else {
        return Err("NAME TYPE VERSIONS ...".to_owned());
    };
    let mut field = Field {
        name: (*name).to_owned(),
        kind: kind_of(kind),
        versions: range(versions)?,
        nullable: None,
        default: None,
        tag: None,
        ignorable: false,
    };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{word} needs a value"));
        match *word {
            "null" => field.nullable = Some(range(value()?)?),
            "=" => field.default = Some((*value()?).to_owned()),
            "tag" => field.tag = Some(number(value()?)?),
            "ignorable" => field.ignorable = true,
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(field)
}

fn kind_of(word: &str) -> Kind {
    if let Some(element) = word.strip_prefix("[]") {
        return Kind::Array(Box::new(kind_of(element)));
    }
    match word {
        "bool" => Kind::Bool,
        "int8" => Kind::Int8,
        "int16" => Kind::Int16,
        "uint16" => Kind::Uint16,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "uuid" => Kind::Uuid,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        name => Kind::Struct(name.to_owned()),
    }
}

/// The struct a field of this kind is made of, if any.
pub(crate) fn struct_name(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Struct(name) => Some(name),
        Kind::Array(element) => struct_name(element),
        _ => None,
    }
}

fn range(word: &str) -> Result<RangeInclusive<i16>, String> {
    if let Some(from) = word.strip_suffix('+') {
        return Ok(number(from)?..=i16::MAX);
    }
    match word.split_once('-') {
        Some((from, to)) => Ok(number(from)?..=number(to)?),
        None => number(word).map(|only| only..=only),
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

fn check(api: &Api) -> Result<(), String> {
    for found in &api.structs {
        if found.fields.is_empty() && found.name != "Request" {
            return Err(format!("{} has no fields", found.name));
        }
        for (index, field) in found.fields.iter().enumerate() {
            let place = format!("{}.{}", found.name, field.name);
            if found.fields[..index]
                .iter()
                .any(|other| other.name == field.name)
            {
                return Err(format!("{place} is there twice"));
            }
            if field.tag.is_some() && *field.versions.start() < api.flexible_from {
                return Err(format!("{place} has a tag in versions without tags"));
            }
            if field.default_is_null() && field.nullable.is_none() {
                return Err(format!("{place} defaults to null but is never null"));
            }
        }
    }
    Ok(())
}
