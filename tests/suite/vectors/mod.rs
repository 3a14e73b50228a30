//! The wire format, frozen: one fixed example of everything that travels, is stored or is signed, with its bytes.
//!
//! A change of a line is a change of the protocol or of the data on operators' disks. It is made on purpose, in a commit
//! of its own, with `SQUAD_BLESS=1 cargo test -p squad-tests vectors`, which writes `tests/vectors/wire.txt` anew.

mod blocks;
mod book;
mod disk;
mod edges;
mod messages;
mod statements;
mod world;

use book::Book;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use world::World;

/// The variable that has the file written anew.
const BLESS: &str = "SQUAD_BLESS";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/wire.txt")
}

fn book() -> Book {
    let world = World::new();
    let mut book = Book::default();
    statements::write(&world, &mut book);
    blocks::write(&world, &mut book);
    messages::write(&world, &mut book);
    disk::write(&world, &mut book);
    edges::write(&world, &mut book);
    book
}

#[test]
fn everything_encodes_to_the_bytes_that_were_frozen() {
    let book = book();
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(file(), book.to_text()).unwrap();
        return;
    }
    let text = std::fs::read_to_string(file()).unwrap();
    let frozen: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(" = ")).collect();
    let now = book.lines();
    let mut complaints = Vec::new();
    for (name, value) in &now {
        match frozen.get(name.as_str()) {
            None => complaints.push(format!("{name} is new")),
            Some(frozen) if frozen != value => complaints.push(format!("{name} is {value}\n    frozen as {frozen}")),
            Some(_) => {}
        }
    }
    complaints.extend(frozen.keys().filter(|name| !now.contains_key(**name)).map(|name| format!("{name} is gone")));
    assert!(
        complaints.is_empty(),
        "the wire format changed; if that is meant, run `{BLESS}=1 cargo test -p squad-tests vectors`:\n  {}",
        complaints.join("\n  ")
    );
}

#[test]
fn everything_frozen_decodes_and_encodes_to_itself() {
    book().check_round_trips();
}
