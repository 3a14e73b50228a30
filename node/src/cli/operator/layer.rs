//! A network's settlement layer as commands see it, at one block.

use super::args::ChainArgs;
use crate::config::NodeConfig;
use anyhow::{Context as _, ensure};
use squad_l1::{Address, Contracts, Endpoints, EndpointsConfig, Head, U256, format_ether};
use squad_types::{Genesis, Settlement};
use std::cmp::Ordering;
use std::time::Duration;

/// How long an endpoint has for an answer, unless the node's configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Blocks over which a chain's own pace is measured.
const MEASURED: u64 = 100;
/// Up to how far from now a time of day is told, in seconds.
const PRECISE: f64 = 172_800.0;
/// Ethereum's: what counts while a chain shows no pace of its own.
const SLOT_SECONDS: f64 = 12.0;

/// What a command works on.
#[derive(Debug)]
pub(in crate::cli) struct Layer {
    pub(in crate::cli) genesis: Genesis,
    pub(in crate::cli) node: Option<NodeConfig>,
    pub(in crate::cli) endpoints: Endpoints,
    pub(in crate::cli) head: Head,
    pub(in crate::cli) contracts: Contracts,
    block_seconds: f64,
}

/// The settlement layer that a genesis names.
pub(in crate::cli) fn settlement(genesis: &Genesis) -> anyhow::Result<Settlement> {
    genesis.settlement.with_context(|| {
        format!("network {} has no settlement layer: its stakes are those of its genesis file", genesis.name)
    })
}

impl Layer {
    /// Finds the contracts, and sees that they are this network's.
    pub(in crate::cli) async fn open(args: &ChainArgs) -> anyhow::Result<Self> {
        let node = args.node()?;
        let path = args.genesis.as_ref().or(node.as_ref().map(|node| &node.genesis));
        let path = path.context("which network? give its genesis file with --genesis, or the node's --config")?;
        let genesis = crate::cli::read_genesis(path)?;
        let layer = settlement(&genesis)?;
        let (urls, agree) = match (&args.endpoints, &node) {
            (urls, _) if !urls.is_empty() => (urls.clone(), urls.len() / 2 + 1),
            (_, Some(node)) => (node.l1.endpoints.clone(), node.l1.agree),
            _ => (Vec::new(), 0),
        };
        ensure!(
            !urls.is_empty(),
            "which endpoints? give JSON-RPC of chain {} with --endpoints or SQUAD_L1_ENDPOINTS, or the node's --config",
            layer.chain_id
        );
        let timeout = node.as_ref().map_or(TIMEOUT, |node| Duration::from_millis(node.l1.timeout_ms));
        let endpoints = Endpoints::new(&EndpointsConfig { urls, agree, timeout, chain_id: layer.chain_id })?;
        Self::of(genesis, node, endpoints, layer).await
    }

    /// The same from endpoints that are there already.
    pub(in crate::cli) async fn of(
        genesis: Genesis,
        node: Option<NodeConfig>,
        endpoints: Endpoints,
        layer: Settlement,
    ) -> anyhow::Result<Self> {
        let head = endpoints.head().await?;
        let contracts = Contracts::find(&endpoints, &head, layer.stake_table.0.into()).await?;
        ensure!(
            contracts.network.0 == genesis.network_id().0,
            "the slasher {} takes evidence of network {}, and the genesis is of network {}: is that the right genesis?",
            contracts.slasher,
            contracts.network,
            genesis.network_id()
        );
        let before = endpoints.block(head.number.saturating_sub(MEASURED)).await?;
        let (blocks, seconds) = (head.number - before.number, head.timestamp.saturating_sub(before.timestamp));
        let measured = if blocks == 0 { 0.0 } else { seconds as f64 / blocks as f64 };
        let block_seconds = if measured > 0.0 { measured } else { SLOT_SECONDS };
        Ok(Self { genesis, node, endpoints, head, contracts, block_seconds })
    }

    /// The layer as of its newest block.
    pub(in crate::cli) async fn refresh(&mut self) -> anyhow::Result<()> {
        self.head = self.endpoints.head().await?;
        Ok(())
    }

    /// A number of blocks, and how long they take at the chain's pace.
    pub(in crate::cli) fn blocks(&self, blocks: impl Into<u64>) -> String {
        let blocks = blocks.into();
        format!("{blocks} blocks ({})", span(blocks as f64 * self.block_seconds))
    }

    /// A block, and roughly when it is or was.
    pub(in crate::cli) fn block(&self, block: impl Into<u64>) -> String {
        let block = block.into();
        let ahead = (block as f64 - self.head.number as f64) * self.block_seconds;
        let at = (self.head.timestamp as f64 + ahead).max(0.0) as u64;
        let at = if ahead.abs() < PRECISE { moment(at) } else { day(at) };
        match block.cmp(&self.head.number) {
            Ordering::Greater => format!("block {block}, around {at} (in {})", span(ahead)),
            Ordering::Equal => format!("block {block}, {at}"),
            Ordering::Less => format!("block {block}, around {at} ({} ago)", span(-ahead)),
        }
    }

    /// What is slashed for what.
    pub(in crate::cli) fn fractions(&self) -> String {
        let of = ["two votes", "two proposals", "two batch headers", "two acks"];
        let each = of.iter().zip(self.contracts.fractions).map(|(what, part)| format!("{what} {}", percent(part)));
        each.collect::<Vec<_>>().join(", ")
    }

    /// The address of the operator whose consensus key that is; none if nobody registered it.
    pub(in crate::cli) async fn owner(&self, key: Address) -> anyhow::Result<Option<Address>> {
        let owner = self.contracts.operator_of(&self.endpoints, &self.head, key).await?;
        Ok((owner != Address::ZERO).then_some(owner))
    }
}

/// A length of time.
pub(in crate::cli) fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5_400.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds if seconds < 129_600.0 => format!("{:.1} hours", seconds / 3_600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// The day of a time in seconds since 1970, in UTC.
pub(in crate::cli) fn day(seconds: u64) -> String {
    // Days since the first of March of year 0, in eras of 400 years; a year begins in March, so the odd day is its last.
    let days = (seconds / 86_400).min(100_000_000) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + u64::from(month <= 2))
}

/// A time in seconds since 1970, in UTC, to the minute.
pub(in crate::cli) fn moment(seconds: u64) -> String {
    format!("{} {:02}:{:02} UTC", day(seconds), seconds / 3_600 % 24, seconds / 60 % 60)
}

fn trimmed(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// An amount with 18 decimals: of wei, shares or magnitude.
pub(in crate::cli) fn decimal(amount: U256) -> String {
    trimmed(&format_ether(amount))
}

/// What something costs, in ETH, rounded up to a millionth.
pub(in crate::cli) fn ether(wei: U256) -> String {
    let step = U256::from(1_000_000_000_000_u64);
    decimal(wei.div_ceil(step).saturating_mul(step))
}

/// A part of 1e18 in hundredths.
pub(in crate::cli) fn percent(part: U256) -> String {
    let shown = format_ether(part.saturating_mul(U256::from(100)));
    let digits = shown.find('.').map_or(shown.len(), |point| point + 3).min(shown.len());
    format!("{} %", trimmed(&shown[..digits]))
}

/// A weight, which is in millionths of a token.
pub(in crate::cli) fn tokens(weight: u64) -> String {
    trimmed(&format!("{}.{:06}", weight / 1_000_000, weight % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(day(seconds), expected);
        }
        assert!(!day(u64::MAX).is_empty());
    }

    #[test]
    fn amounts_and_spans_are_short_and_exact_where_they_can_be() {
        assert_eq!(decimal(U256::from(1_500_000_000_000_000_000_u64)), "1.5");
        assert_eq!(
            (decimal(U256::ZERO), ether(U256::from(1)), ether(U256::ZERO)),
            ("0".into(), "0.000001".into(), "0".into())
        );
        assert_eq!(ether(U256::from(196_530_001_375_710_u64)), "0.000197");
        assert_eq!(moment(86_399), "1970-01-01 23:59 UTC");
        assert_eq!(percent(U256::from(333_333_333_333_333_333_u64)), "33.33 %");
        assert_eq!(percent(U256::from(1_000_000_000_000_000_000_u64)), "100 %");
        assert_eq!(
            (tokens(42_500_000), tokens(3), tokens(100_000_000)),
            ("42.5".into(), "0.000003".into(), "100".into())
        );
        let spans = [12.0, 384.0, 7_200.0, 1_209_600.0].map(span);
        assert_eq!(spans, ["12 s", "6 minutes", "2.0 hours", "14.0 days"]);
    }
}
