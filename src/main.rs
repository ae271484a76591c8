fn main() -> std::process::ExitCode {
    ringlog::cli::main()
}
