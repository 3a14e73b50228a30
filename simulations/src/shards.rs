//! What a campaign or a sweep is in all, written beside the part of it that a directory holds, so that parts find together.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The file's name in a directory.
const NAME: &str = "whole.json";

/// A whole that a directory holds all or a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// `campaign` or `sweep`.
    pub what: String,
    /// Of what: a campaign's profile, a sweep's scenario.
    pub of: String,
    /// A sweep's settings; a campaign has one, without a name.
    pub points: Vec<String>,
    /// The first seed.
    pub first: u64,
    /// The last seed.
    pub last: u64,
}

impl Whole {
    /// What stands in a directory, if anything.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| io::Error::other(format!("{} cannot be read: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it into a directory. What is there already must be of the same kind, and grows.
    pub fn join(&self, directory: &Path) -> io::Result<()> {
        let whole = match Self::read(directory)? {
            Some(mut before) => {
                before.add(self).map_err(|what| {
                    let place = directory.display();
                    io::Error::other(format!("{place} holds other results: {what}; give another directory"))
                })?;
                before
            }
            None => self.clone(),
        };
        std::fs::write(directory.join(NAME), serde_json::to_string_pretty(&whole)?)
    }

    /// Takes another one in, unless it is of something else. Says what is different.
    pub fn add(&mut self, other: &Self) -> Result<(), String> {
        if self.what != other.what {
            return Err(format!("a {} is no {}", self.what, other.what));
        }
        if self.of != other.of {
            return Err(match self.what.as_str() {
                "campaign" => format!("a campaign of profile {}, not {}", self.of, other.of),
                _ => "a sweep of another scenario".to_owned(),
            });
        }
        for point in &other.points {
            if !self.points.contains(point) {
                self.points.push(point.clone());
            }
        }
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
        Ok(())
    }

    /// All runs that belong to it: a point and a seed each.
    pub fn runs(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.points.iter().flat_map(|point| (self.first..=self.last).map(|seed| (point.clone(), seed)))
    }
}
