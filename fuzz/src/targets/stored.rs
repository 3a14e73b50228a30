//! What is read back from disks, which may hold anything after a power cut or a bad sector.

use super::canonical;
use squad_client::TrustedCommittee;
use squad_consensus::LogEntry;
use squad_sequencer::{Checkpoint, LogRecord};

/// The first eight bytes are the file's generation, the rest is the file.
pub(super) fn segment_records(bytes: &[u8]) {
    let Some((tag, file)) = bytes.split_first_chunk::<8>() else { return };
    let report = squad_storage::scan_bytes(file, u64::from_le_bytes(*tag));
    assert!(report.end <= file.len() as u64, "records end beyond their file");
}

pub(super) fn log_entry(bytes: &[u8]) {
    if let Some(entry) = canonical::<LogEntry>(bytes) {
        entry.height();
    }
}

pub(super) fn log_record(bytes: &[u8]) {
    canonical::<LogRecord>(bytes);
}

/// The seeds are log records: their first byte is the record's tag.
pub(super) fn checkpoint(bytes: &[u8]) {
    if let Some((_, checkpoint)) = bytes.split_first() {
        canonical::<Checkpoint>(checkpoint);
    }
}

pub(super) fn client_checkpoint(bytes: &[u8]) {
    if let Ok(checkpoint) = squad_client::Checkpoint::from_bytes(bytes.to_vec().into()) {
        assert_eq!(checkpoint.to_bytes(), bytes, "a checkpoint has two encodings");
        let _ = squad_client::BlockVerifier::resume(checkpoint, squad_types::NamespaceId(1));
    }
}

pub(super) fn trusted_committee(bytes: &[u8]) {
    if let Some(trusted) = canonical::<TrustedCommittee>(bytes) {
        let _ = trusted.check_fresh(squad_types::Timestamp(1));
    }
}
