//! The broker's program: everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ringlog::cli::main()
}
