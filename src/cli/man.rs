//! `ringlog man`

use super::failure::Outcome;
use clap::CommandFactory;
use clap_mangen::Man;

/// Writes one page: the program, then each command with its options.
pub(super) fn run() -> Outcome {
    let mut command = super::Arguments::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    append(&command, "ringlog", &mut page)?;
    super::output::write(&page)
}

/// The options of each subcommand, below a heading that is the way to call it.
fn append(command: &clap::Command, path: &str, page: &mut Vec<u8>) -> Outcome {
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        let path = format!("{path} {}", sub.get_name());
        page.extend(format!(".SH \"{}\"\n", path.to_uppercase()).bytes());
        let man = Man::new(sub.clone());
        let mut part = Vec::new();
        man.render_synopsis_section(&mut part)?;
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        // Below the command's own heading these are subheadings.
        page.extend(
            String::from_utf8_lossy(&part)
                .replace(".SH ", ".SS ")
                .bytes(),
        );
        append(sub, &path, page)?;
    }
    Ok(())
}
