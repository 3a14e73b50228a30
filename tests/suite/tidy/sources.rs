//! What no source file does.

use super::{files, none, root};
use std::path::{Path, PathBuf};

/// The longest source file. A longer one holds more than one noun.
const MAX_LINES: usize = 500;

/// Files of text that are generated or not ours.
const GENERATED: [&str; 2] = ["Cargo.lock", "tests/vectors/wire.txt"];

/// Where tests may sleep: between two looks at another process, up to a deadline.
const MAY_SLEEP: &str = "wait.rs";

fn rust() -> Vec<(PathBuf, String)> {
    let sources = files(Path::new("")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    sources.map(|path| (path.clone(), std::fs::read_to_string(root().join(&path)).unwrap())).collect()
}

/// Where `needle` stands: path, line number and line.
fn hits(path: &Path, text: &str, needle: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| needle(line));
    lines.map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim())).collect()
}

#[test]
fn no_source_file_is_over_500_lines() {
    let long = rust().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
    });
    none(long.collect(), "files that hold more than one noun");
}

#[test]
fn nothing_is_left_to_do() {
    // Written in two parts, so that this file does not find itself.
    let unfinished = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    let found = rust().into_iter().flat_map(|(path, text)| {
        hits(&path, &text, |line| unfinished.iter().any(|macro_call| line.contains(macro_call)))
    });
    none(found.collect(), "unfinished code");
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    let bare = concat!("#[", "ignore]");
    let found = rust().into_iter().flat_map(|(path, text)| hits(&path, &text, |line| line.trim() == bare));
    none(found.collect(), "tests that are ignored without a reason");
}

#[test]
fn no_test_sleeps() {
    let calls = [concat!("sle", "ep("), concat!("sle", "ep_ms(")];
    let found = rust().into_iter().flat_map(|(path, text)| {
        let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        let tests = if path.iter().any(is_test) {
            Some(text.as_str())
        } else {
            text.split_once("#[cfg(test)]\nmod tests {").map(|(_, tests)| tests)
        };
        let allowed = path.file_name().is_some_and(|name| name == MAY_SLEEP);
        match tests.filter(|_| !allowed) {
            Some(tests) => hits(&path, tests, |line| calls.iter().any(|call| line.contains(call))),
            None => Vec::new(),
        }
    });
    none(found.collect(), "tests that sleep (wait for what is expected; over processes, in a wait.rs)");
}

#[test]
fn no_committed_text_names_a_path_of_one_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let texts = ["rs", "toml", "md", "proto", "html", "txt", "yml", "yaml", "json"];
    let found = files(Path::new("")).into_iter().flat_map(|path| {
        let is_text = path.extension().is_some_and(|e| texts.iter().any(|text| e == *text)) || path.starts_with(".ci");
        if !is_text || GENERATED.iter().any(|generated| path == Path::new(generated)) {
            return Vec::new();
        }
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        hits(&path, &text, |line| paths.iter().any(|machine| line.contains(machine)))
    });
    none(found.collect(), "paths of one machine");
}
