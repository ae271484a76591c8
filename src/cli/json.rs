//! JSON as commands write it: one value a line, members in the order given.

use std::fmt::Write;

/// A JSON value being written.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
    /// Members named by data.
    Map(Vec<(String, Self)>),
}

impl Json {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes as text if they are UTF-8, otherwise as an object with their base64 form.
    pub(crate) fn bytes(bytes: Option<&[u8]>) -> Self {
        match bytes.map(std::str::from_utf8) {
            None => Self::Null,
            Some(Ok(text)) => Self::text(text),
            Some(Err(_)) => Self::Object(vec![(
                "base64",
                Self::Text(base64(bytes.unwrap_or_default())),
            )]),
        }
    }

    fn put(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{number}");
            }
            Self::Text(text) => put_text(out, text),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    item.put(out);
                }
                out.push(']');
            }
            Self::Object(members) => put_members(out, members),
            Self::Map(members) => put_members(out, members),
        }
    }
}

fn put_members(out: &mut String, members: &[(impl AsRef<str>, Json)]) {
    out.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        put_text(out, name.as_ref());
        out.push(':');
        value.put(out);
    }
    out.push('}');
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.put(&mut out);
        f.write_str(&out)
    }
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// RFC 4648, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_bytes_are_encoded() {
        let value = Json::Object(vec![
            ("a", Json::text("q\"\\\n\u{1}\u{e9}")),
            ("b", Json::bytes(Some(&[0xff, 0xfe]))),
            (
                "c",
                Json::List(vec![Json::Number(-1), Json::Null, Json::Bool(true)]),
            ),
        ]);
        let told = value.to_string();
        let expected = "{\"a\":\"q\\\"\\\\\\n\\u0001\u{e9}\",\"b\":{\"base64\":\"//4=\"},\
                        \"c\":[-1,null,true]}";
        assert_eq!(told, expected);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
