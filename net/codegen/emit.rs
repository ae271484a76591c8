//! Turns parsed schemas into Rust: per struct a type, its defaults and one `Wire` implementation
//! that tests the version only where the supported versions differ.

use crate::schema::{Api, Field, Kind, Struct, struct_name};
use std::fmt::Write;
use std::ops::RangeInclusive;

/// The whole generated file: one module per API and the table of all of them.
pub(crate) fn messages(apis: &[Api]) -> String {
    let mut out = String::from("// Generated from the schema folder; do not edit.\n");
    for api in apis {
        let module = api.module();
        let (name, range) = (&api.name, shown(&api.versions));
        line(
            &mut out,
            format_args!("/// {name} (key {}), versions {range}.", api.key),
        );
        line(&mut out, format_args!("pub mod {module} {{"));
        line(&mut out, format_args!("use super::codec::*;"));
        for found in &api.structs {
            definition(&mut out, api, found);
            defaults(&mut out, found);
            wire(&mut out, api, found);
        }
        for name in nullable_structs(api) {
            line(&mut out, format_args!("nullable_struct!({name});"));
        }
        let flexible = api.flexible_from;
        line(
            &mut out,
            format_args!("message!(Request, {}, {flexible});", api.key),
        );
        line(
            &mut out,
            format_args!("message!(Response, {}, {flexible});\n}}", api.key),
        );
    }
    table(&mut out, apis);
    out
}

fn table(out: &mut String, apis: &[Api]) {
    line(out, format_args!("api_table! {{"));
    for api in apis {
        let (min, max) = (api.versions.start(), api.versions.end());
        let (module, key, name) = (api.module(), api.key, &api.name);
        let (flexible, advertised) = (api.flexible_from, api.advertised_min);
        line(
            out,
            format_args!("{name} {module} {key} {min} {max} {flexible} {advertised},"),
        );
    }
    line(out, format_args!("}}"));
}

fn definition(out: &mut String, api: &Api, found: &Struct) {
    line(
        out,
        format_args!("/// `{}` of Kafka's {}.", found.name, api.name),
    );
    line(out, format_args!("#[derive(Clone, Debug, PartialEq, Eq)]"));
    line(out, format_args!("pub struct {} {{", found.name));
    for field in &found.fields {
        let note = match (&field.nullable, field.tag) {
            (Some(range), _) => format!(", null in {}", shown(range)),
            (None, Some(_)) => ", tagged".to_owned(),
            (None, None) => String::new(),
        };
        line(
            out,
            format_args!("/// In versions {}{note}.", shown(&field.versions)),
        );
        line(
            out,
            format_args!("pub {}: {},", name(field), rust_type(field)),
        );
    }
    line(out, format_args!("}}"));
}

fn defaults(out: &mut String, found: &Struct) {
    line(
        out,
        format_args!(
            "impl Default for {} {{ fn default() -> Self {{ Self {{",
            found.name
        ),
    );
    for field in &found.fields {
        line(out, format_args!("{}: {},", name(field), default(field)));
    }
    line(out, format_args!("}} }} }}"));
}

fn wire(out: &mut String, api: &Api, found: &Struct) {
    line(out, format_args!("impl Wire for {} {{", found.name));
    line(out, format_args!("fn min_size(_version: i16) -> usize {{"));
    min_size(out, api, found);
    line(out, format_args!("}}"));
    line(
        out,
        format_args!("fn read(r: &mut Reader, v: i16) -> Result<Self, DecodeError> {{"),
    );
    read(out, api, found);
    line(
        out,
        format_args!("}}\nfn write(&self, w: &mut Writer, v: i16) {{"),
    );
    write(out, api, found);
    line(out, format_args!("}}\n}}"));
}

/// One arm for each run of versions in which an element takes the same least number of bytes.
fn min_size(out: &mut String, api: &Api, found: &Struct) {
    let mut runs: Vec<(i16, usize)> = Vec::new();
    for version in api.versions.clone() {
        let size = least(api, found, version);
        match runs.last_mut() {
            Some(run) if run.1 == size => run.0 = version,
            _ => runs.push((version, size)),
        }
    }
    if let [(_, size)] = runs[..] {
        return line(out, format_args!("{size}"));
    }
    line(out, format_args!("match _version {{"));
    for (index, (last, size)) in runs.iter().enumerate() {
        match index + 1 == runs.len() {
            true => line(out, format_args!("_ => {size},")),
            false => line(out, format_args!("..={last} => {size},")),
        }
    }
    line(out, format_args!("}}"));
}

fn least(api: &Api, found: &Struct, version: i16) -> usize {
    let flexible = version >= api.flexible_from;
    let fields = found
        .fields
        .iter()
        .filter(|f| f.has(version) && f.tag.is_none());
    let sum: usize = fields
        .map(|field| match &field.kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 => 4,
            Kind::Int64 => 8,
            Kind::Uuid => 16,
            Kind::Struct(_) if field.nullable_in(version) => 1,
            Kind::Struct(name) => least(api, api.find(name), version),
            _ if flexible => 1,
            Kind::String => 2,
            Kind::Bytes | Kind::Records | Kind::Array(_) => 4,
        })
        .sum();
    sum + usize::from(flexible)
}

fn read(out: &mut String, api: &Api, found: &Struct) {
    let (plain, tagged): (Vec<&Field>, Vec<&Field>) =
        found.fields.iter().partition(|field| field.tag.is_none());
    let binding = if tagged.is_empty() { "out" } else { "mut out" };
    line(out, format_args!("let {binding} = Self {{"));
    for field in plain {
        let mut value = "Wire::read(r, v)?".to_owned();
        if let Some(legal) = null_test(api, field) {
            value = format!("r.nullable({:?}, {legal}, v)?", field.name);
        }
        match test(api, Some(&field.versions)) {
            None => line(out, format_args!("{}: {value},", name(field))),
            Some(has) => line(
                out,
                format_args!(
                    "{}: if {has} {{ {value} }} else {{ {} }},",
                    name(field),
                    default(field)
                ),
            ),
        }
    }
    for field in &tagged {
        line(out, format_args!("{}: {},", name(field), default(field)));
    }
    line(out, format_args!("}};"));
    if tagged.is_empty() {
        line(out, format_args!("r.skip_tags()?;"));
    } else {
        line(out, format_args!("r.tags(|r, tag| {{ match tag {{"));
        for field in tagged {
            let guard =
                test(api, Some(&field.versions)).map_or(String::new(), |t| format!("if {t}"));
            let tag = field.tag.unwrap_or_default();
            line(
                out,
                format_args!("{tag} {guard} => out.{} = Wire::read(r, v)?,", name(field)),
            );
        }
        line(
            out,
            format_args!("_ => return Ok(false), }} Ok(true) }})?;"),
        );
    }
    line(out, format_args!("Ok(out)"));
}

fn write(out: &mut String, api: &Api, found: &Struct) {
    for field in found.fields.iter().filter(|field| field.tag.is_none()) {
        let place = format!("self.{}", name(field));
        let write = match null_test(api, field) {
            None => format!("{place}.write(w, v);"),
            Some(legal) => format!("w.nullable(&{place}, {legal}, {:?}, v);", field.name),
        };
        match (test(api, Some(&field.versions)), field.ignorable) {
            (None, _) => line(out, format_args!("{write}")),
            (Some(has), true) => line(out, format_args!("if {has} {{ {write} }}")),
            (Some(has), false) => line(
                out,
                format_args!(
                    "if {has} {{ {write} }} else if {} {{ w.value_lost({:?}); }}",
                    differs(field),
                    field.name
                ),
            ),
        }
    }
    write_tags(out, api, found);
}

fn write_tags(out: &mut String, api: &Api, found: &Struct) {
    let mut tagged: Vec<&Field> = found.fields.iter().filter(|f| f.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    if tagged.is_empty() {
        return line(out, format_args!("w.no_tags();"));
    }
    for field in tagged.iter().filter(|field| !field.ignorable) {
        if let Some(has) = test(api, Some(&field.versions)) {
            line(
                out,
                format_args!(
                    "if !({has}) && {} {{ w.value_lost({:?}); }}",
                    differs(field),
                    field.name
                ),
            );
        }
    }
    line(out, format_args!("if w.flexible() {{ let set = ["));
    for field in &tagged {
        let has = test(api, Some(&field.versions)).map_or(String::new(), |t| format!("{t} && "));
        line(out, format_args!("{has}{},", differs(field)));
    }
    line(out, format_args!("]; w.tag_count(&set);"));
    for (index, field) in tagged.iter().enumerate() {
        let tag = field.tag.unwrap_or_default();
        line(
            out,
            format_args!(
                "if set[{index}] {{ w.tag({tag}, &self.{}, v); }}",
                name(field)
            ),
        );
    }
    line(out, format_args!("}}"));
}

/// The condition on `v` for a range of versions; `None` when it always holds.
fn test(api: &Api, range: Option<&RangeInclusive<i16>>) -> Option<String> {
    let range = range?;
    let from = (range.start() > api.versions.start()).then(|| format!("v >= {}", range.start()));
    let to = (range.end() < api.versions.end()).then(|| format!("v <= {}", range.end()));
    match (from, to) {
        (None, None) => None,
        (Some(from), Some(_)) if range.start() == range.end() => Some(from.replace(">=", "==")),
        (Some(_), Some(_)) => Some(format!(
            "({}..={}).contains(&v)",
            range.start(),
            range.end()
        )),
        (one, None) | (None, one) => one,
    }
}

/// The condition under which null is legal, within the versions that have the field at all.
fn null_test(api: &Api, field: &Field) -> Option<String> {
    let nullable = field.nullable.as_ref()?;
    let always = api
        .versions
        .clone()
        .all(|version| !field.has(version) || nullable.contains(&version));
    if always {
        None
    } else {
        test(api, Some(nullable))
    }
}

fn name(field: &Field) -> String {
    match field.name.as_str() {
        "type" | "match" => format!("r#{}", field.name),
        other => other.to_owned(),
    }
}

fn rust_type(field: &Field) -> String {
    match field.nullable {
        Some(_) => format!("Option<{}>", plain_type(&field.kind)),
        None => plain_type(&field.kind),
    }
}

fn plain_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Int8 => "i8".to_owned(),
        Kind::Int16 => "i16".to_owned(),
        Kind::Uint16 => "u16".to_owned(),
        Kind::Int32 => "i32".to_owned(),
        Kind::Int64 => "i64".to_owned(),
        Kind::Uuid => "Uuid".to_owned(),
        Kind::String => "Str".to_owned(),
        Kind::Bytes => "Bytes".to_owned(),
        Kind::Records => "Records".to_owned(),
        Kind::Struct(name) => name.clone(),
        Kind::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

fn default(field: &Field) -> String {
    match field.default.as_deref() {
        Some("null") => "None".to_owned(),
        Some(value) => value.to_owned(),
        None if field.nullable.is_some() => format!("Some({})", empty(field)),
        None => empty(field),
    }
}

fn empty(field: &Field) -> String {
    match &field.kind {
        Kind::Bool => "false".to_owned(),
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => "0".to_owned(),
        Kind::Array(_) => "Vec::new()".to_owned(),
        other => format!("{}::default()", plain_type(other)),
    }
}

fn differs(field: &Field) -> String {
    let place = format!("self.{}", name(field));
    if field.default_is_null() {
        return format!("{place}.is_some()");
    }
    match (&field.kind, field.nullable.is_some()) {
        (Kind::Array(_) | Kind::String, false) => format!("!{place}.is_empty()"),
        (Kind::Bool, false) if default(field) == "false" => place,
        (Kind::Bool, false) => format!("!{place}"),
        _ => format!("{place} != {}", default(field)),
    }
}

fn nullable_structs(api: &Api) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for field in api.structs.iter().flat_map(|found| &found.fields) {
        if let (Kind::Struct(_), Some(_), Some(name)) =
            (&field.kind, &field.nullable, struct_name(&field.kind))
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn shown(range: &RangeInclusive<i16>) -> String {
    match (range.start(), range.end()) {
        (from, &i16::MAX) => format!("{from}+"),
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{text}");
}
