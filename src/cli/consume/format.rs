//! How a record is printed. The letters are those of kcat.

use crate::cli::json::Json;
use crate::cli::moment;
use std::io::{self, Write};
use storage::batch::Record;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value,
    ValueLength,
    Key,
    KeyLength,
    Headers,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Date,
    Json,
}

impl Format {
    pub(super) fn json() -> Self {
        Self(vec![Piece::Json, Piece::Text("\n".to_owned())])
    }

    /// The value on a line, behind headers and key if these are wanted.
    pub(super) fn plain(key: bool, headers: bool) -> Self {
        let tab = || Piece::Text("\t".to_owned());
        let mut pieces = Vec::new();
        if headers {
            pieces.extend([Piece::Headers, tab()]);
        }
        if key {
            pieces.extend([Piece::Key, tab()]);
        }
        pieces.extend([Piece::Value, Piece::Text("\n".to_owned())]);
        Self(pieces)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match (
                c,
                if matches!(c, '%' | '\\') {
                    chars.next()
                } else {
                    None
                },
            ) {
                ('%', Some('s')) => Piece::Value,
                ('%', Some('S')) => Piece::ValueLength,
                ('%', Some('k')) => Piece::Key,
                ('%', Some('K')) => Piece::KeyLength,
                ('%', Some('h')) => Piece::Headers,
                ('%', Some('t')) => Piece::Topic,
                ('%', Some('p')) => Piece::Partition,
                ('%', Some('o')) => Piece::Offset,
                ('%', Some('T')) => Piece::Timestamp,
                ('%', Some('D')) => Piece::Date,
                (c, next) => {
                    plain.push(literal(c, next)?);
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    pub(super) fn write(
        &self,
        out: &mut impl Write,
        topic: &str,
        partition: i32,
        offset: i64,
        record: &Record,
    ) -> io::Result<()> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        // As kcat: the length of what is absent is -1.
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text.as_bytes())?,
                Piece::Value => out.write_all(value.unwrap_or_default())?,
                Piece::ValueLength => write!(out, "{}", length(value))?,
                Piece::Key => out.write_all(key.unwrap_or_default())?,
                Piece::KeyLength => write!(out, "{}", length(key))?,
                Piece::Headers => write_headers(out, record)?,
                Piece::Topic => out.write_all(topic.as_bytes())?,
                Piece::Partition => write!(out, "{partition}")?,
                Piece::Offset => write!(out, "{offset}")?,
                Piece::Timestamp => write!(out, "{}", record.timestamp)?,
                Piece::Date if record.timestamp < 0 => write!(out, "-")?,
                Piece::Date => out.write_all(moment::format(record.timestamp).as_bytes())?,
                Piece::Json => write!(out, "{}", to_json(topic, partition, offset, record))?,
            }
        }
        Ok(())
    }
}

fn literal(c: char, next: Option<char>) -> Result<char, String> {
    match (c, next) {
        ('%', Some('%')) => Ok('%'),
        ('\\', Some('n')) => Ok('\n'),
        ('\\', Some('t')) => Ok('\t'),
        ('\\', Some('\\')) => Ok('\\'),
        ('\\', Some('0')) => Ok('\0'),
        ('%' | '\\', Some(next)) => Err(format!("{c}{next} means nothing in a format")),
        ('%' | '\\', None) => Err(format!("a format must not end with {c}")),
        _ => Ok(c),
    }
}

fn write_headers(out: &mut impl Write, record: &Record) -> io::Result<()> {
    for (at, (name, value)) in record.headers.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name)?;
        out.write_all(b"=")?;
        out.write_all(value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

fn to_json(topic: &str, partition: i32, offset: i64, record: &Record) -> Json {
    let header = |(name, value): &(bytes::Bytes, Option<bytes::Bytes>)| {
        Json::Object(vec![
            ("name", Json::bytes(Some(name))),
            ("value", Json::bytes(value.as_deref())),
        ])
    };
    Json::Object(vec![
        ("topic", Json::text(topic)),
        ("partition", Json::Number(i64::from(partition))),
        ("offset", Json::Number(offset)),
        ("timestamp", Json::Number(record.timestamp)),
        ("key", Json::bytes(record.key.as_deref())),
        ("value", Json::bytes(record.value.as_deref())),
        (
            "headers",
            Json::List(record.headers.iter().map(header).collect()),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn show(format: &Format) -> String {
        let record = Record {
            offset_delta: 0,
            timestamp: 86_400_000,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")))],
        };
        let mut out = Vec::new();
        format
            .write(&mut out, "t", 2, 9, &record)
            .expect("memory takes everything");
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn formats_are_kcats() {
        let format = Format::parse("%t-%p@%o %T %D %k/%K %s/%S [%h] 100%%\\n").expect("legal");
        let date = "1970-01-02T00:00:00.000Z";
        assert_eq!(
            show(&format),
            format!("t-2@9 86400000 {date} k/1 /-1 [h=v] 100%\n")
        );
        for wrong in ["%", "%q", "\\", "\\q"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn plain_lines_and_json() {
        assert_eq!(show(&Format::plain(true, true)), "h=v\tk\t\n");
        let expected = "{\"topic\":\"t\",\"partition\":2,\"offset\":9,\"timestamp\":86400000,\
                        \"key\":\"k\",\"value\":null,\
                        \"headers\":[{\"name\":\"h\",\"value\":\"v\"}]}\n";
        assert_eq!(show(&Format::json()), expected);
    }
}
