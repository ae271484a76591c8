//! From lines to records.

use super::Arguments;
use crate::cli::failure::{Failure, Outcome};

/// A record to be: key and value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// Takes a line apart as the options say; its line feed is no part of it.
    pub(super) fn new(bytes: &'a [u8], arguments: &'a Arguments) -> Outcome<Self> {
        let text = match bytes {
            _ if arguments.whole => bytes,
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
            text => text,
        };
        let (key, value) = match &arguments.key_separator {
            None => (arguments.key.as_deref().map(str::as_bytes), text),
            Some(separator) => {
                let (key, value) = split(text, separator.as_bytes()).ok_or_else(|| {
                    let shown = String::from_utf8_lossy(text);
                    let shown: String = shown.chars().take(60).collect();
                    Failure::new(format!("no {separator:?} in line {shown:?}"))
                        .advise("every line needs a key with --key-separator")
                })?;
                (Some(key), value)
            }
        };
        let is_null = arguments
            .null_value
            .as_ref()
            .is_some_and(|null| null.as_bytes() == value);
        Ok(Self {
            key,
            value: (!is_null).then_some(value),
        })
    }
}

fn split<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

/// A separator as typed: `\t`, `\n`, `\\` stand for what they always do.
pub(super) fn separator(text: &str) -> Result<String, String> {
    let text = text
        .replace("\\t", "\t")
        .replace("\\n", "\n")
        .replace("\\\\", "\\");
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn line(options: &[&str], text: &str) -> Option<(Option<String>, Option<String>)> {
        let words = ["produce", "t"].into_iter().chain(options.iter().copied());
        let whole = Whole::try_parse_from(words).expect("the options are right");
        let line = Line::new(text.as_bytes(), &whole.arguments).ok()?;
        let own = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((line.key.map(own), line.value.map(own)))
    }

    #[test]
    fn lines_become_keys_and_values() {
        let some = |key: Option<&str>, value: Option<&str>| {
            Some((key.map(str::to_owned), value.map(str::to_owned)))
        };
        assert_eq!(line(&[], "a:b\n"), some(None, Some("a:b")));
        assert_eq!(line(&[], "\n"), some(None, Some("")));
        assert_eq!(line(&[], "windows\r\n"), some(None, Some("windows")));
        assert_eq!(line(&["--whole"], "a\nb\n"), some(None, Some("a\nb\n")));
        assert_eq!(line(&["-K", ":"], "a:b:c"), some(Some("a"), Some("b:c")));
        assert_eq!(line(&["-K", "\\t"], "a\tb\n"), some(Some("a"), Some("b")));
        assert_eq!(line(&["-K", ":"], "a"), None);
        assert_eq!(
            line(&["-k", "x", "--null-value", "-"], "-\n"),
            some(Some("x"), None)
        );
    }
}
