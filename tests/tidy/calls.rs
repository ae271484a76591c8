//! What no one may leave behind, and what pure code may not call.

use crate::lexer::{line, words};
use crate::source::Source;

/// Words that mean "later", with what they would hide.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "#[ignore", "dbg!"];
const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(crate) fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source {
        path,
        text,
        code,
        shipped,
    } in sources
    {
        for mark in UNFINISHED {
            for (at, _) in code.match_indices(mark) {
                problems.push(format!("{path}:{}: {mark}", line(code, at)));
            }
        }
        for (at, _) in shipped.match_indices(".unwrap()") {
            let line = line(shipped, at);
            problems.push(format!(
                "{path}:{line}: unwrap; handle it, or expect(\"the reason\")"
            ));
        }
        for note in NOTES {
            for at in words(text, note) {
                problems.push(format!("{path}:{}: {note}", line(text, at)));
            }
        }
    }
    problems
}

/// The world outside: clocks, files, sockets, threads, chance, the terminal.
const OUTSIDE: &[&str] = &[
    "std::time",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SystemTime",
    "Instant::now",
    "RandomState",
    "HashMap",
    "HashSet",
    "rand::",
    "libc::",
    "println!",
    "eprintln!",
];

/// Maps that hash by chance are walked in another order by every process, so that a seed would not
/// bring a run back. These folders still have some.
const HASHING: &[&str] = &["storage/src/log/", "storage/src/store/"];

/// The shell: the only code outside of reactor that may touch the world.
const SHELL: &[&str] = &["src/cli/", "src/control/", "src/main.rs"];

pub(crate) fn impure(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source { path, shipped, .. } in sources {
        for (at, _) in shipped
            .match_indices(".await")
            .chain(shipped.match_indices("async fn"))
        {
            problems.push(format!("{path}:{}: async", line(shipped, at)));
        }
        let pure = ["src/", "net/src/", "storage/src/"]
            .iter()
            .any(|at| path.starts_with(at));
        if !pure || SHELL.iter().any(|shell| path.starts_with(shell)) {
            continue;
        }
        let hashing = HASHING.iter().any(|folder| path.starts_with(folder));
        for call in OUTSIDE
            .iter()
            .filter(|call| !(hashing && call.starts_with("Hash")))
        {
            for (at, _) in shipped.match_indices(call) {
                // `first_rand::` is another word.
                let before = shipped[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    problems.push(format!("{path}:{}: {call}", line(shipped, at)));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_is_left_for_later_is_found() {
        let problems = |path: &str, text: &str| unfinished(&sample(path, text)).len();
        for text in [
            "fn f() { todo!() }",
            "#[ignore = \"slow\"]",
            "f().unwrap();",
        ] {
            assert_eq!(problems("src/a.rs", text), 1, "{text}");
        }
        assert_eq!(problems("src/a.rs", &format!("// {} later", NOTES[0])), 1);
        assert_eq!(
            problems("src/a.rs", "// todo! is banned\nf().expect(\"x\");"),
            0
        );
        assert_eq!(
            problems(
                "src/a.rs",
                "#[cfg(test)]\nmod tests { fn f() { a.unwrap() } }"
            ),
            0
        );
        assert_eq!(problems("tests/a.rs", "f().unwrap();"), 0);
        assert_eq!(problems("tests/a.rs", "#[ignore]"), 1);
    }

    #[test]
    fn calls_of_the_world_are_found() {
        let problems = |path: &str, text: &str| impure(&sample(path, text)).len();
        for path in ["src/cluster/a.rs", "net/src/a.rs", "storage/src/a.rs"] {
            assert_eq!(problems(path, "use std::fs;"), 1);
            assert_eq!(problems(path, "let map: HashMap<u8, u8>;"), 1);
            assert_eq!(problems(path, "let now = Instant::now();"), 1);
            assert_eq!(
                problems(path, "use std::net::IpAddr; strand::f(); // std::fs"),
                0
            );
        }
        for path in [
            "src/cli/a.rs",
            "src/control/a.rs",
            "reactor/src/a.rs",
            "tests/a.rs",
        ] {
            assert_eq!(problems(path, "use std::fs;"), 0);
        }
        assert_eq!(problems("reactor/src/a.rs", "async fn f() {}"), 1);
    }
}
