//! Reading a scenario, and saying where it is wrong.

use super::Scenario;
use super::check;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// A step into a document: a key, or a place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    At(usize),
}

/// Something wrong in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1; 0 if it is nowhere in particular.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// All that was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { line, what }) in self.0.iter().enumerate() {
            let end = if at + 1 == self.0.len() { "" } else { "\n" };
            write!(f, "line {line}: {what}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Reads a scenario.
pub fn parse(text: &str) -> Result<Scenario, Problems> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        Problems(vec![Problem { line, what: error.message().to_owned() }])
    })?;
    let found = check::check(&scenario);
    if found.is_empty() {
        return Ok(scenario);
    }
    let document = DeTable::parse(text).ok();
    let locate = |path: &[Step]| {
        let offset = document.as_ref().map_or(0, |document| offset_of(document.get_ref(), path));
        line_of(text, offset)
    };
    Err(Problems(found.into_iter().map(|(path, what)| Problem { line: locate(&path), what }).collect()))
}

/// Where the deepest step of a path that exists begins.
fn offset_of(table: &DeTable<'_>, path: &[Step]) -> usize {
    let (Some(Step::Key(key)), rest) = (path.first(), path.get(1..).unwrap_or_default()) else { return 0 };
    let Some((key, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { return 0 };
    let mut offset = key.span().start;
    let mut value = value;
    for step in rest {
        let next = match (step, value.get_ref()) {
            (Step::Key(name), DeValue::Table(inner)) => {
                inner.iter().find(|(key, _)| key.get_ref() == name).map(|(key, value)| (key.span().start, value))
            }
            (Step::At(at), DeValue::Array(list)) => list.get(*at).map(|value| (value.span().start, value)),
            _ => None,
        };
        let Some((start, inner)) = next else { break };
        (offset, value) = (start, inner);
    }
    offset
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "duration_ms = 1000\n\n[committee]\nmembers = 4\n";

    fn wrong(more: &str) -> String {
        parse(&format!("{GOOD}{more}")).unwrap_err().to_string()
    }

    #[test]
    fn a_short_scenario_is_enough_and_comes_back_as_it_was_written() {
        let scenario = parse(GOOD).unwrap();
        assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_what_is_known() {
        let error = wrong("newcomer = 1\n");
        assert!(error.starts_with("line 5: unknown field `newcomer`"), "{error}");
        assert!(error.contains("newcomers"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line() {
        let error = wrong("followers = \"many\"\n");
        assert!(error.starts_with("line 5:") && error.contains("expected"), "{error}");
    }

    #[test]
    fn every_problem_of_meaning_is_found_each_with_its_line() {
        let error = wrong(
            "[[load]]\nrate = -1.0\nbytes = 100\n\n[[fault]]\nat_ms = 5000\ncrash = { node = 9, down_ms = 10 }\n\n\
             [[fault]]\nat_ms = 10\n\n[[byzantine]]\nnode = 4\nbehaviour = \"silent\"\n",
        );
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines[0].starts_with("line 6:") && lines[0].contains("-1"), "{error}");
        assert!(lines[1].starts_with("line 10:") && lines[1].contains("5000") && lines[1].contains("1000"), "{error}");
        assert!(lines[2].starts_with("line 11:") && lines[2].contains('9'), "{error}");
        assert!(lines[3].starts_with("line 13:") && lines[3].contains("exactly one"), "{error}");
        assert!(lines[4].starts_with("line 17:") && lines[4].contains('4'), "{error}");
    }
}
