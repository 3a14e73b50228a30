//! What a run costs the operators: CPU time and memory of their processes, durable writes and bytes by their metrics.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a metrics page.
const MAX_PAGE: u64 = 4 << 20;
/// Time for it to come.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the system and the operators have counted up to now.
#[derive(Clone, Debug, Default)]
pub(super) struct Cost {
    /// By process: CPU seconds, if it is there.
    pub(super) cpu: Vec<Option<f64>>,
    /// By process: resident bytes.
    pub(super) resident: Vec<Option<f64>>,
    /// Sums over all operators whose metrics answer; none if none do.
    pub(super) counters: Option<Counters>,
    /// CPU seconds of this process.
    pub(super) own_cpu: f64,
}

/// Sums over operators' metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    /// Operators that answered.
    pub(super) operators: u32,
    pub(super) durable_writes: f64,
    pub(super) durable_seconds: f64,
    pub(super) bytes_out: f64,
    pub(super) blocks: f64,
    pub(super) extra_rounds: f64,
}

impl Cost {
    /// Looks at everything.
    pub(super) async fn look(pids: &[u32], metrics: &[String]) -> Self {
        let mut cost = Self {
            cpu: pids.iter().map(|pid| cpu_seconds(*pid)).collect(),
            resident: pids.iter().map(|pid| resident_bytes(*pid)).collect(),
            counters: None,
            own_cpu: crate::metrics::cpu_seconds(),
        };
        let pages = futures::future::join_all(metrics.iter().map(|url| page(url))).await;
        for page in pages.into_iter().flatten() {
            cost.counters.get_or_insert_default().add(&page);
        }
        cost
    }
}

impl Counters {
    fn add(&mut self, page: &str) {
        self.operators += 1;
        self.durable_writes += sum(page, "squad_durable_write_seconds_count", "");
        self.durable_seconds += sum(page, "squad_durable_write_seconds_sum", "");
        self.bytes_out += sum(page, "squad_network_bytes_total", "direction=\"out\"");
        self.blocks += sum(page, "squad_blocks_total", "");
        self.extra_rounds += sum(page, "squad_extra_rounds_total", "");
    }
}

/// The sum of a metric over its labels, of those lines that have `label`.
fn sum(page: &str, name: &str, label: &str) -> f64 {
    let of_name = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A page over HTTP; none if it does not come.
async fn page(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
    let fetch = async {
        let mut socket = TcpStream::connect(host).await.ok()?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        socket.take(MAX_PAGE).read_to_string(&mut text).await.ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    };
    tokio::time::timeout(PATIENCE, fetch).await.ok()?
}

/// CPU seconds that a process has used, all threads together and in the kernel too.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks(&text)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The sum of fields 14 and 15 of a process's `stat`. Its second field, a name in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

fn resident_bytes(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: f64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}

/// The system's load average over a minute; none where it does not say.
pub(super) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 30 12 5 5 20 0 3 0 100 1000 10";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S"), None);
        if cfg!(target_os = "linux") {
            assert!(cpu_seconds(std::process::id()).is_some() && resident_bytes(std::process::id()).is_some());
        }
        assert_eq!(cpu_seconds(u32::MAX), None);
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let page = "# HELP squad_blocks_total Blocks\nsquad_blocks_total 5\nsquad_blocks_total_more 100\n\
                    squad_network_bytes_total{direction=\"in\"} 1\nsquad_network_bytes_total{direction=\"out\"} 20\n";
        assert_eq!(sum(page, "squad_blocks_total", ""), 5.0);
        assert_eq!(sum(page, "squad_network_bytes_total", "direction=\"out\""), 20.0);
        assert_eq!(sum(page, "squad_network_bytes_total", ""), 21.0);
    }

    #[tokio::test]
    async fn metrics_of_a_node_are_counted() {
        let metrics = crate::metrics::NodeMetrics::new().unwrap();
        metrics.blocks.inc_by(3);
        metrics.network_bytes.with_label_values(&["out"]).inc_by(9);
        metrics.fsync.with_label_values(&["log"]).observe(0.5);
        let listener = crate::api::http::bind("metrics", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let backend = crate::api::tests::FakeBackend::new();
        let server = crate::api::serve_metrics(listener, backend, metrics).unwrap();
        let url = format!("http://{}/metrics", server.address());
        let cost = Cost::look(&[], &[url, "http://127.0.0.1:1/metrics".into()]).await;
        let counters = cost.counters.unwrap();
        assert_eq!((counters.operators, counters.blocks, counters.bytes_out), (1, 3.0, 9.0));
        assert_eq!((counters.durable_writes, counters.durable_seconds), (1.0, 0.5));
        server.stop().await;
    }
}
