//! Enough of Rust's lexical structure to tell code from comments and literals.

/// Replaces comments and the insides of literals by blanks.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = chars.clone();
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !follows_word(&chars, at) => match raw_end(&chars, at) {
                Some(end) => end,
                None => at + 1,
            },
            '\'' => char_end(&chars, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for c in &mut out[at..end] {
                if *c != '\n' {
                    *c = ' ';
                }
            }
        }
        at = end;
    }
    out.into_iter().collect()
}

fn follows_word(chars: &[char], at: usize) -> bool {
    // The b of br"..." belongs to the literal.
    let before = at.checked_sub(1).map(|before| chars[before]);
    before.is_some_and(|c| (c.is_alphanumeric() || c == '_') && c != 'b')
}

fn line_end(chars: &[char], at: usize) -> usize {
    let rest = chars[at..].iter().position(|&c| c == '\n');
    rest.map_or(chars.len(), |rest| at + rest)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string that begins at the `r`, if one does.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |&end: &usize| {
        let tail = chars.get(end + 1..end + 1 + hashes);
        chars[end] == '"' && tail.is_some_and(|tail| tail.iter().all(|&c| c == '#'))
    };
    let close = (open + 1..chars.len()).find(closes)?;
    Some(close + 1 + hashes)
}

/// The end of a character literal; just the quote for a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars[at + 3..].iter().position(|&c| c == '\'');
        return close.map_or(chars.len(), |close| at + 3 + close + 1);
    }
    if chars.get(at + 2) == Some(&'\'') {
        return at + 3;
    }
    at + 1
}

/// Blanks what `#[cfg(test)]` guards.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let open = rest.find('{').unwrap_or(rest.len());
        let end = match rest.find(';') {
            Some(end) if end < open => end + 1,
            _ => matching(rest, open),
        };
        let guarded = &rest[..end];
        let blanks: String = guarded
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect();
        out.replace_range(start..start + end, &blanks);
    }
    out
}

/// The position behind the brace that closes the one at `open`.
pub(crate) fn matching(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open.min(code.len())..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    code.len()
}

/// Where `word` stands in `code` as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = code[..at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !before.is_some_and(part) && !after.is_some_and(part)
        })
}

/// The line, counted from 1, on which a position lies.
pub(crate) fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[test]
fn comments_and_literals_are_blank() {
    for (text, rest) in [
        ("a // unsafe", "a"),
        ("a /* x /* y */ z */ b", "a                   b"),
        (r#"f("un\"safe") g"#, "f(          ) g"),
        ("f(r#\"a\"b\"#) g", "f(        ) g"),
        ("'\\'' 'x' 'a", "         'a"),
        ("for<'a> x", "for<'a> x"),
    ] {
        assert_eq!(blank(text).trim_end(), rest, "{text}");
    }
}

#[test]
fn test_modules_are_not_shipped() {
    let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\nfn c() {}\n";
    let shipped = without_tests(code);
    assert!(shipped.contains("fn a") && shipped.contains("fn c") && !shipped.contains("fn b"));
    assert_eq!(shipped.lines().count(), code.lines().count());
    let shipped = without_tests("#[cfg(test)]\nmod tests;\nfn c() {}\n");
    assert!(shipped.contains("fn c") && !shipped.contains("mod"));
}
