//! Waiting for a condition, within a bound.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: the machine may be busy with other tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(25);

/// Looks until there is a value, and says how long that took.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        if let Some(value) = look() {
            return (value, started.elapsed());
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
}
