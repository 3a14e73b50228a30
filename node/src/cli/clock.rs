//! The system's clock.

use squad_types::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far this process pretends its clock to be off. Only tests set it.
static OFFSET_MS: AtomicI64 = AtomicI64::new(0);

/// The time of day.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Timestamp(ms.saturating_add_signed(OFFSET_MS.load(Ordering::Relaxed)))
}

/// Has this process pretend that its clock is off, so that a test can see what a node says then.
pub(super) fn pretend(offset_ms: i64) {
    OFFSET_MS.store(offset_ms, Ordering::Relaxed);
}
