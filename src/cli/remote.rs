//! Options of every command that talks to a broker.

use super::cluster::Cluster;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Remote {
    /// A broker to start from; several may be given, the first that answers is used.
    #[arg(
        long,
        short = 'b',
        global = true,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = "RINGLOG_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap: Vec<String>,
    /// How long to wait for a broker, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl Remote {
    pub(super) fn cluster(&self) -> Cluster {
        let with_port = |address: &String| {
            let is_bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
            match address.rsplit_once(':') {
                Some((_, port)) if !is_bare_v6 && port.parse::<u16>().is_ok() => address.clone(),
                _ if is_bare_v6 => format!("[{address}]:9092"),
                _ => format!("{address}:9092"),
            }
        };
        let bootstrap = self.bootstrap.iter().map(with_port).collect();
        Cluster::new(bootstrap, Duration::from_secs(self.timeout))
    }
}

/// Asks the person at the terminal before something is gone; a script is not asked.
pub(super) fn confirm(question: &str, yes: bool) -> bool {
    if yes || !stdin().is_terminal() {
        return true;
    }
    let mut answer = String::new();
    let asked = write!(stderr(), "{question} [y/N] ").is_ok();
    asked && stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A setting on the command line.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_has_a_name() {
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(assignment("=x").is_err());
        assert!(assignment("x").is_err());
    }
}
