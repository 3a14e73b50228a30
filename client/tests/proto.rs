//! The interface's description is complete: whoever reads only the file knows what each part means.
#![allow(clippy::unwrap_used, missing_docs)]

/// Whether a line declares something: a service, call, message, enumeration, its value, a choice or a field.
fn declares(line: &str) -> bool {
    let opens = ["service ", "rpc ", "message ", "enum ", "oneof "].iter().any(|word| line.starts_with(word));
    let numbered = line.ends_with(';') && line.contains(" = ") && !line.starts_with("syntax");
    opens || numbered
}

#[test]
fn every_declaration_stands_under_a_comment() {
    let text = include_str!("../proto/squad.proto");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declarations: Vec<usize> = (1..lines.len()).filter(|at| declares(lines[*at])).collect();
    assert!(declarations.len() > 60, "only {} declarations: does this test still read the file?", declarations.len());
    let bare: Vec<&str> =
        declarations.into_iter().filter(|at| !lines[at - 1].starts_with("//")).map(|at| lines[at]).collect();
    assert!(bare.is_empty(), "without a comment above: {bare:#?}");
}

#[test]
fn the_descriptor_for_reflection_carries_the_comments() {
    let encoded = squad_client::proto::FILE_DESCRIPTOR_SET;
    let says = |text: &str| encoded.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(says("squad.proto") && says("SubscribeBlocks") && says("The lowest height that it can still serve."));
}
