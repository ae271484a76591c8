//! Expands the message definitions under `schema/` into Rust: see `codegen/`.

#[path = "codegen/emit.rs"]
mod emit;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "codegen/schema.rs"]
mod schema;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder = env::var("RINGLOG_SCHEMA").unwrap_or_else(|_| "schema".to_owned());
    println!("cargo::rerun-if-env-changed=RINGLOG_SCHEMA");
    println!("cargo::rerun-if-changed={folder}");
    println!("cargo::rerun-if-changed=codegen");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of schema files")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "schema"))
        .collect();
    files.sort();
    let apis: Vec<schema::Api> = files.iter().map(|path| parse(path)).collect();
    let target = env::var_os("OUT_DIR").expect("cargo names the output folder");
    fs::write(
        Path::new(&target).join("messages.rs"),
        emit::messages(&apis),
    )
    .expect("a writable output folder");
}

fn parse(path: &Path) -> schema::Api {
    let text = fs::read_to_string(path).expect("a readable schema file");
    schema::parse(&path.display().to_string(), &text)
}
