//! Where nodes are, and how far apart: clusters, or regions from a table of round-trip times.

use crate::spread::Spread;

const AWS_P50: &str = include_str!("../data/aws-rtt-p50-ms.csv");
const AWS_P90: &str = include_str!("../data/aws-rtt-p90-ms.csv");

/// Sets of regions that published results use; `data/README.md` names where the figures come from.
pub const SETS: [(&str, &[&str]); 4] = [
    (
        "alto-10",
        &[
            "us-west-1",
            "us-east-1",
            "eu-west-1",
            "ap-northeast-1",
            "eu-north-1",
            "ap-south-1",
            "sa-east-1",
            "eu-central-1",
            "ap-northeast-2",
            "ap-southeast-2",
        ],
    ),
    (
        "mysticeti-13",
        &[
            "us-west-1",
            "us-west-2",
            "ca-central-1",
            "eu-central-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "eu-north-1",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ap-northeast-1",
            "ap-northeast-2",
        ],
    ),
    ("us-4", &["us-east-1", "us-east-2", "us-west-1", "us-west-2"]),
    ("eu-5", &["eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1"]),
];

/// Each node's place, and the one-way delay between any two places.
#[derive(Clone, Debug)]
pub struct Places {
    names: Vec<String>,
    of: Vec<usize>,
    delays: Vec<Vec<Spread>>,
}

/// A table that cannot be read, or a region that is not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacesError {
    /// A region that the table does not name.
    #[error("region {region:?} is not in the table; it has {known}; sets of regions are {sets}", sets = set_names())]
    Unknown {
        /// The region asked for.
        region: String,
        /// Those there are.
        known: String,
    },
    /// A row or cell that is no number.
    #[error("line {line} of the table: {what}")]
    Table {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

impl Places {
    /// Nodes in clusters of equal size, taken in turns: `near` within one, `far` between two.
    pub fn clustered(nodes: usize, clusters: usize, near: Spread, far: Spread) -> Self {
        let clusters = clusters.max(1);
        let cell = |(from, to): (usize, usize)| if from == to { near.clone() } else { far.clone() };
        let delays = (0..clusters).map(|from| (0..clusters).map(|to| cell((from, to))).collect()).collect();
        let names = (1..=clusters).map(|cluster| format!("cluster {cluster}")).collect();
        Self { names, of: (0..nodes).map(|node| node % clusters).collect(), delays }
    }

    /// Nodes in regions of the shipped table of AWS, taken in turns.
    pub fn aws(nodes: usize, regions: &[String]) -> Result<Self, PlacesError> {
        Self::regions(nodes, regions, AWS_P50, AWS_P90)
    }

    /// Nodes in regions of two tables of round-trip times (median and 90th percentile, in milliseconds; a header row with
    /// the regions, then one row a region that begins with its name), taken in turns. No regions means all of them.
    pub fn regions(nodes: usize, regions: &[String], p50: &str, p90: &str) -> Result<Self, PlacesError> {
        let (p50, p90) = (Table::parse(p50)?, Table::parse(p90)?);
        let names: Vec<String> = if regions.is_empty() { p50.names.clone() } else { expand(regions) };
        let mut delays = Vec::with_capacity(names.len());
        for from in &names {
            let row = names.iter().map(|to| {
                // One way is half of the round trip; the table is in milliseconds.
                Ok(Spread::fitted(500.0 * p50.get(from, to)?, 500.0 * p90.get(from, to)?))
            });
            delays.push(row.collect::<Result<Vec<_>, PlacesError>>()?);
        }
        Ok(Self { of: (0..nodes).map(|node| node % names.len()).collect(), names, delays })
    }

    /// The places' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A node's place, by its position among the names.
    pub fn of(&self, node: usize) -> usize {
        self.of[node]
    }

    /// The name of a node's place.
    pub fn name_of(&self, node: usize) -> &str {
        &self.names[self.of[node]]
    }

    /// How long messages take from one node to another.
    pub fn between(&self, from: usize, to: usize) -> &Spread {
        &self.delays[self.of[from]][self.of[to]]
    }

    /// How long a message takes on its way, in microseconds.
    pub fn delay(&self, from: usize, to: usize, random: u64) -> u64 {
        self.between(from, to).pick(random)
    }
}

fn set_names() -> String {
    SETS.map(|(name, _)| name).join(", ")
}

/// Replaces the name of a set by its regions.
fn expand(regions: &[String]) -> Vec<String> {
    let set = |name: &str| SETS.iter().find(|(set, _)| *set == name).map(|(_, regions)| *regions);
    let mut names = Vec::new();
    for region in regions {
        match set(region) {
            Some(members) => names.extend(members.iter().map(|member| (*member).to_owned())),
            None => names.push(region.clone()),
        }
    }
    names
}

struct Table {
    names: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn parse(text: &str) -> Result<Self, PlacesError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let wrong = |line: usize, what: String| PlacesError::Table { line: line + 1, what };
        let Some((_, header)) = lines.next() else { return Err(wrong(0, "it is empty".to_owned())) };
        let names: Vec<String> = header.split(',').skip(1).map(|name| name.trim().to_owned()).collect();
        let mut rows = Vec::new();
        for (at, line) in lines {
            let mut cells = line.split(',').map(str::trim);
            let name = cells.next().unwrap_or_default().to_owned();
            let numbers: Result<Vec<f64>, PlacesError> = cells
                .map(|cell| match cell.parse::<f64>() {
                    Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
                    _ => Err(wrong(at, format!("{cell:?} is not a time in milliseconds"))),
                })
                .collect();
            let numbers = numbers?;
            if numbers.len() != names.len() {
                return Err(wrong(at, format!("{} figures for {} regions", numbers.len(), names.len())));
            }
            rows.push((name, numbers));
        }
        Ok(Self { names, rows })
    }

    fn get(&self, from: &str, to: &str) -> Result<f64, PlacesError> {
        let unknown = |region: &str| PlacesError::Unknown { region: region.to_owned(), known: self.names.join(", ") };
        let row = self.rows.iter().find(|(name, _)| name == from).ok_or_else(|| unknown(from))?;
        let column = self.names.iter().position(|name| name == to).ok_or_else(|| unknown(to))?;
        Ok(row.1[column])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_table_covers_every_set_and_half_a_round_trip_is_one_way() {
        for (set, regions) in SETS {
            let places = Places::aws(50, &[set.to_owned()]).unwrap();
            assert_eq!(places.delays.len(), regions.len());
        }
        let pair = ["us-east-1".to_owned(), "eu-west-1".to_owned()];
        let places = Places::aws(2, &pair).unwrap();
        let one_way = places.between(0, 1).quantile(500);
        assert!((30_000..40_000).contains(&one_way), "{one_way} µs across the Atlantic");
    }

    #[test]
    fn an_unknown_region_and_a_broken_table_say_so() {
        let unknown = Places::aws(4, &["mars-north-1".to_owned()]).unwrap_err().to_string();
        assert!(["mars-north-1", "eu-west-1", "alto-10"].iter().all(|name| unknown.contains(name)), "{unknown}");
        let broken = Places::regions(2, &[], "x,a,b\na,1,2\nb,1,oops\n", "x,a,b\na,1,2\nb,1,2\n").unwrap_err();
        assert_eq!(broken.to_string(), "line 3 of the table: \"oops\" is not a time in milliseconds");
    }
}
