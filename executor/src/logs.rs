//! Finding logs: by address and topics, over a range of blocks, with blooms to skip what cannot match.

use crate::{Result, Store, evm::StoredBody};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};

/// Which logs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Emitted by any of these; by anybody if empty.
    pub addresses: Vec<Address>,
    /// At each position any of these topics; any topic or none where empty.
    pub topics: Vec<Vec<B256>>,
}

impl LogFilter {
    /// Whether a block with this bloom can hold a matching log. `false` is certain.
    pub fn may_match(&self, bloom: &Bloom) -> bool {
        let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
        let any = |topics: &Vec<B256>| topics.is_empty() || topics.iter().any(|topic| has(topic.as_slice()));
        (self.addresses.is_empty() || self.addresses.iter().any(|address| has(address.as_slice())))
            && self.topics.iter().all(any)
    }

    /// Whether a log matches.
    pub fn matches(&self, log: &Log) -> bool {
        if !self.addresses.is_empty() && !self.addresses.contains(&log.address) {
            return false;
        }
        // As in Ethereum's clients, a filter that names more positions than the log has topics does not match.
        let topics = log.topics();
        self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }

    /// Appends the matching logs of one block to `found`.
    pub fn collect(&self, header: &Header, block_hash: B256, body: &StoredBody, found: &mut Vec<FoundLog>) {
        let mut log_index = 0;
        for (at, (transaction, receipt)) in body.transactions.iter().zip(&body.receipts).enumerate() {
            for log in &receipt.logs {
                if self.matches(log) {
                    found.push(FoundLog {
                        number: header.number,
                        block_hash,
                        timestamp: header.timestamp,
                        transaction_hash: transaction.hash,
                        transaction_index: at as u32,
                        log_index,
                        log: log.clone(),
                    });
                }
                log_index += 1;
            }
        }
    }
}

/// A log and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLog {
    /// EVM block.
    pub number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// Its timestamp in seconds.
    pub timestamp: u64,
    /// The transaction that emitted it.
    pub transaction_hash: B256,
    /// That transaction's index in the block.
    pub transaction_index: u32,
    /// Index among all logs of the block.
    pub log_index: u32,
    /// The log.
    pub log: Log,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundLogs {
    /// Matching logs in chain order.
    pub logs: Vec<FoundLog>,
    /// The block at which the search ended because there were more logs than asked for; that block is not part of
    /// the answer. `None`: the whole range was searched.
    pub stopped_at: Option<u64>,
}

impl Store {
    /// Logs of blocks `from` to `to` (both included, missing blocks are passed over) that match, at most `limit` of
    /// them. Reads one header per block, and the body only where the header's bloom may match.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store), [`Error::Damaged`](crate::Error::Damaged).
    pub fn logs(&self, from: u64, to: u64, filter: &LogFilter, limit: usize) -> Result<FoundLogs> {
        let mut found = FoundLogs::default();
        let mut of_block = Vec::new();
        self.scan_headers(from, to, |header| {
            if !filter.may_match(&header.logs_bloom) {
                return Ok(true);
            }
            let Some(body) = self.body(header.number)? else { return Ok(true) };
            filter.collect(&header, header.hash_slow(), &body, &mut of_block);
            if found.logs.len() + of_block.len() > limit {
                found.stopped_at = Some(header.number);
                return Ok(false);
            }
            found.logs.append(&mut of_block);
            Ok(true)
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Bytes;

    fn log(address: u8, topics: &[u8]) -> Log {
        let topics = topics.iter().map(|topic| B256::repeat_byte(*topic)).collect();
        Log::new_unchecked(Address::repeat_byte(address), topics, Bytes::new())
    }

    fn filter(addresses: &[u8], topics: &[&[u8]]) -> LogFilter {
        LogFilter {
            addresses: addresses.iter().map(|at| Address::repeat_byte(*at)).collect(),
            topics: topics.iter().map(|any| any.iter().map(|topic| B256::repeat_byte(*topic)).collect()).collect(),
        }
    }

    #[test]
    fn matches_as_ethereum_defines_and_the_bloom_never_hides_a_match() {
        let logs = [log(1, &[]), log(1, &[7]), log(2, &[7, 8]), log(3, &[9, 8, 7])];
        let cases: [(LogFilter, [bool; 4]); 8] = [
            (filter(&[], &[]), [true; 4]),
            (filter(&[1], &[]), [true, true, false, false]),
            (filter(&[1, 3], &[]), [true, true, false, true]),
            (filter(&[], &[&[7]]), [false, true, true, false]),
            (filter(&[], &[&[7, 9]]), [false, true, true, true]),
            (filter(&[], &[&[], &[8]]), [false, false, true, true]),
            (filter(&[2], &[&[7], &[8]]), [false, false, true, false]),
            (filter(&[], &[&[], &[], &[]]), [false, false, false, true]),
        ];
        for (filter, expected) in cases {
            for (log, expected) in logs.iter().zip(expected) {
                assert_eq!(filter.matches(log), expected, "{filter:?} on {log:?}");
                let mut bloom = Bloom::ZERO;
                bloom.accrue_log(log);
                assert!(!expected || filter.may_match(&bloom), "{filter:?} on {log:?}");
            }
        }
        assert!(!filter(&[1], &[]).may_match(&Bloom::ZERO));
        assert!(!filter(&[], &[&[], &[1]]).may_match(&Bloom::ZERO));
    }
}
