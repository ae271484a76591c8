//! Java's `.properties` syntax, as `java.util.Properties.load` reads it.

/// Names and values in the order of the file.
///
/// # Errors
/// The line on which a `\u` escape is malformed; nothing else is ever wrong in this syntax.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut lines = lines(text).enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else {
                break;
            };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        let wrong = || format!("line {}: malformed \\uxxxx escape", number + 1);
        let (name, value) = split(&logical);
        let name = unescape(name).ok_or_else(wrong)?;
        pairs.push((name, unescape(value).ok_or_else(wrong)?));
    }
    Ok(pairs)
}

/// The text of a file. Java reads it as ISO-8859-1, people write UTF-8: what is valid UTF-8 is
/// taken as that, since text in ISO-8859-1 hardly ever is by accident.
pub fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// LF, CR, and the two together as one end a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// A line goes on if an odd number of backslashes ends it.
fn continues(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

/// The name ends at the first '=', ':' or blank that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|&(_, c)| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let end = end.map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    // In UTF-16, because two `\u` escapes may make up one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    units.push(hex(&mut chars)?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            plain => plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits = (0..4).map(|_| chars.next()?.to_digit(16));
    let digits = digits.collect::<Option<Vec<u32>>>()?;
    u16::try_from(digits.iter().fold(0, |all, digit| all * 16 + digit)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_java_reads_it() {
        let text = "# comment\n! comment\n\n a = 1\nb:2\nc 3\nd=\ne\n\
                    f = x\\\n    y\\\\\ng\\=h=i=j\n\\u0041=\\u00e9\\t\\z\r\nk=\\ud83d\\ude00 \n";
        let pairs = parse(text).unwrap();
        let expected = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d", ""),
            ("e", ""),
            ("f", "xy\\"),
            ("g=h", "i=j"),
            ("A", "\u{e9}\tz"),
            ("k", "\u{1f600} "),
        ];
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn carriage_return_and_line_feed_together_end_one_line() {
        let text = "a=1,\\\r\n  2\r\nb=3\\\r  4\r\r\nc=5\\\r\n";
        let pairs = parse(text).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("a", "1,2"), pair("b", "34"), pair("c", "5")]);
        let error = parse("a=1\\\r\n,2\r\n\r\nb=\\u12\r\n").unwrap_err();
        assert_eq!(error, "line 4: malformed \\uxxxx escape");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_latin_1() {
        assert_eq!(decode(b"# caf\xc3\xa9".to_vec()), "# caf\u{e9}");
        assert_eq!(decode(b"# caf\xe9 \x80".to_vec()), "# caf\u{e9} \u{80}");
    }

    #[test]
    fn bad_escapes_name_their_line() {
        let error = parse("a=1\nb=\\u12").unwrap_err();
        assert_eq!(error, "line 2: malformed \\uxxxx escape");
    }
}
