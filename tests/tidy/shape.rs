//! Lengths, names, and where `unsafe` may stand.

use crate::lexer::{line, matching, words};
use crate::source::Source;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

pub(crate) fn too_long(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source {
        path, text, code, ..
    } in sources
    {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{path}: {lines} lines, split it by concept"));
        }
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                problems.push(format!("{path}:{}: {columns} columns", at + 1));
            }
        }
        for (at, lines) in functions(code) {
            if lines > FUNCTION_LINES_MAX {
                problems.push(format!("{path}:{at}: a function of {lines} lines"));
            }
        }
    }
    problems
}

/// The first line and the number of lines of every function that has a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let Some(open) = body(&code[at..]) else {
            continue;
        };
        let end = matching(code, at + open);
        let first = line(code, at);
        found.push((first, line(code, end - 1) + 1 - first));
    }
    found
}

/// Where the body of the function at the start of `code` opens; none for a declaration or a type.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' | ',' | '=' if depth == 0 => {
                // A '=' may be an associated type in a bound: `impl Iterator<Item = u8>`.
                let bound = c != ';' && code[..at].contains("->") || code[..at].contains("where");
                if !bound {
                    return None;
                }
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

pub(crate) fn names(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source {
        path,
        shipped,
        code,
        ..
    } in sources
    {
        let file = path.rsplit('/').next().unwrap_or(path);
        if ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"].contains(&file) {
            problems.push(format!(
                "{path}: a name that says nothing; name the concept"
            ));
        }
        for at in words(code, "const") {
            let name: String = code[at + "const".len()..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if name.starts_with("MAX_") {
                let line = line(code, at);
                problems.push(format!(
                    "{path}:{line}: {name}: a bound's name ends in _MAX"
                ));
            }
            let of_limits = path.ends_with("src/limits.rs") && shipped[at..].starts_with("const");
            if of_limits && name != "_" && !name.ends_with("_MAX") {
                let line = line(code, at);
                problems.push(format!(
                    "{path}:{line}: {name}: here are bounds only, ..._MAX"
                ));
            }
        }
    }
    problems
}

pub(crate) fn unsafe_code(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source {
        path, text, code, ..
    } in sources
    {
        let lines: Vec<&str> = text.lines().collect();
        for at in words(code, "unsafe") {
            let number = line(code, at);
            if !path.starts_with("reactor/") {
                problems.push(format!("{path}:{number}: unsafe outside of reactor"));
                continue;
            }
            let rest = code[at + "unsafe".len()..].trim_start();
            let above = &lines[number.saturating_sub(12)..number];
            let says = |what: &str| above.iter().any(|line| line.contains(what));
            let explained = if rest.starts_with("fn") || rest.starts_with("trait") {
                says("# Safety")
            } else {
                says("SAFETY:")
            };
            // `extern` blocks and function pointer types contain no unsafe operation.
            if !explained && (rest.starts_with('{') || rest.starts_with("impl")) {
                problems.push(format!("{path}:{number}: unsafe without a SAFETY comment"));
            }
        }
    }
    problems
}

/// The root of every crate but reactor forbids unsafe code.
pub(crate) fn forbidden(sources: &[Source]) -> Vec<String> {
    let is_root = |path: &str| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    sources
        .iter()
        .filter(|source| is_root(&source.path) && !source.path.starts_with("reactor/"))
        .filter(|source| !source.code.contains("#![forbid(unsafe_code)]"))
        .map(|source| format!("{}: #![forbid(unsafe_code)] is missing", source.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn long_function(lines: usize) -> String {
        format!(
            "fn f(a: [u8; 3]) -> u8 {{\n{}}}\n",
            "    x();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn lengths() {
        let problems = |text: &str| too_long(&sample("src/a.rs", text)).len();
        assert_eq!(problems(&"\n".repeat(800)), 0);
        assert_eq!(problems(&"\n".repeat(801)), 1);
        assert_eq!(problems(&format!("// {}\n", "x".repeat(97))), 0);
        assert_eq!(problems(&format!("// {}\n", "x".repeat(98))), 1);
        assert_eq!(problems(&long_function(70)), 0);
        assert_eq!(problems(&long_function(71)), 1);
        let bound = long_function(71).replace("-> u8", "-> impl Iterator<Item = u8>");
        assert_eq!(problems(&bound), 1);
        assert_eq!(
            problems("type F = fn(u8) -> u8;\ntrait T { fn g(&self); }\n"),
            0
        );
    }

    #[test]
    fn bounds_and_files_are_named() {
        let problems = |path: &str, text: &str| names(&sample(path, text)).len();
        assert_eq!(problems("src/limits.rs", "pub const A_MAX: u8 = 1;"), 0);
        assert_eq!(problems("src/limits.rs", "pub const A: u8 = 1;"), 1);
        assert_eq!(
            problems("src/limits.rs", "const _: () = assert!(1 < 2);"),
            0
        );
        assert_eq!(problems("src/a.rs", "const MAX_A: u8 = 1;"), 1);
        assert_eq!(problems("src/utils.rs", ""), 1);
    }

    #[test]
    fn unsafe_is_found() {
        let problems = |path: &str, text: &str| unsafe_code(&sample(path, text)).len();
        assert_eq!(problems("src/a.rs", "// SAFETY: no.\nunsafe { f() }"), 1);
        assert_eq!(
            problems("src/a.rs", "// unsafe\n#![forbid(unsafe_code)]"),
            0
        );
        assert_eq!(problems("reactor/src/a.rs", "unsafe { f() }"), 1);
        assert_eq!(
            problems("reactor/src/a.rs", "// SAFETY: why.\nunsafe { f() }"),
            0
        );
        assert_eq!(
            forbidden(&sample("net/src/lib.rs", "// #![forbid(unsafe_code)]")).len(),
            1
        );
        assert_eq!(
            forbidden(&sample("net/src/lib.rs", "#![forbid(unsafe_code)]")).len(),
            0
        );
    }
}
