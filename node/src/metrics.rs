//! What the node counts, in the form that Prometheus collects.

use crate::api::rejection::RejectCode;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};
use squad_types::Tier;

/// Buckets of latencies, in seconds: from a local fsync to the longest wait.
const LATENCY_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Every metric of a node. The driver and the interfaces fill it; all parts are cheap to clone and safe to share.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    registry: Registry,
    /// The last decided height.
    pub height: IntGauge,
    /// The round being decided.
    pub round: IntGauge,
    /// The epoch being decided.
    pub epoch: IntGauge,
    /// Chain time at the tip, milliseconds.
    pub chain_time: IntGauge,
    /// 1 while the node takes transactions.
    pub ready: IntGauge,
    /// Connected peers.
    pub peers: IntGauge,
    /// Members of the committee.
    pub committee: IntGauge,
    /// Transactions admitted and not batched yet.
    pub pool_transactions: IntGauge,
    /// Their bytes.
    pub pool_bytes: IntGauge,
    /// Bytes in the own lane above its ordered tip.
    pub own_lane_bytes: IntGauge,
    /// Proofs of misbehaviour kept.
    pub evidence: IntGauge,
    /// Free bytes where the data directory lies.
    pub disk_free_bytes: IntGauge,
    /// Milliseconds by which this clock is ahead of the other operators'.
    pub clock_skew: IntGauge,
    /// The newest block of the settlement layer whose stakes are known here.
    pub l1_block: IntGauge,
    /// Looks at the settlement layer that failed, since the start.
    pub l1_failures: IntCounter,
    /// Pieces of evidence that this node sent, and stake was taken for, since the start.
    pub evidence_submitted: IntCounter,
    /// Attempts to send evidence that failed, since the start.
    pub evidence_submit_failures: IntCounter,
    /// Blocks decided since the start.
    pub blocks: IntCounter,
    /// Rounds above the first, since the start.
    pub extra_rounds: IntCounter,
    /// Transactions admitted, by namespace.
    pub admitted: IntCounterVec,
    /// Requests refused, by code.
    pub refused: IntCounterVec,
    /// Transactions ordered, by namespace.
    pub ordered: IntCounterVec,
    /// Bytes ordered, by namespace.
    pub ordered_bytes: IntCounterVec,
    /// Seconds from arrival here to each tier.
    pub latency: HistogramVec,
    /// Seconds between blocks.
    pub block_interval: Histogram,
    /// Seconds of one durable write, by stream.
    pub fsync: HistogramVec,
    /// Bytes from and to peers, by direction.
    pub network_bytes: IntCounterVec,
    /// Answers of the interfaces, by interface and method.
    pub calls: IntCounterVec,
    /// Open connections, by interface.
    pub connections: prometheus::IntGaugeVec,
    /// Open block and header streams.
    pub streams: IntGauge,
    cpu_seconds: Gauge,
    resident_bytes: Gauge,
    start_time: Gauge,
    build: GaugeVec,
}

impl NodeMetrics {
    /// A registry with every metric in it.
    ///
    /// # Errors
    /// Never in practice: two metrics of one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let made = Maker(Registry::new());
        let metrics = Self {
            height: made.gauge("height", "Last decided height")?,
            round: made.gauge("round", "Round being decided")?,
            epoch: made.gauge("epoch", "Epoch being decided")?,
            chain_time: made.gauge("chain_time_milliseconds", "Chain time at the tip")?,
            ready: made.gauge("ready", "1 while the node takes transactions")?,
            peers: made.gauge("peers", "Connected peers")?,
            committee: made.gauge("committee_members", "Members of the committee")?,
            pool_transactions: made.gauge("pool_transactions", "Transactions admitted and not batched yet")?,
            pool_bytes: made.gauge("pool_bytes", "Bytes admitted and not batched yet")?,
            own_lane_bytes: made.gauge("own_lane_bytes", "Bytes in the own lane above its ordered tip")?,
            evidence: made.gauge("evidence", "Proofs of misbehaviour kept")?,
            disk_free_bytes: made.gauge("disk_free_bytes", "Free bytes where the data directory lies")?,
            clock_skew: made.gauge("clock_skew_milliseconds", "How far this clock is ahead of the other operators'")?,
            l1_block: made.gauge("l1_block", "Newest block of the settlement layer whose stakes are known")?,
            l1_failures: made.counter("l1_failures_total", "Looks at the settlement layer that failed")?,
            evidence_submitted: made.counter("evidence_submitted_total", "Evidence sent that stake was taken for")?,
            evidence_submit_failures: made
                .counter("evidence_submit_failures_total", "Attempts to send evidence that failed")?,
            blocks: made.counter("blocks_total", "Blocks decided")?,
            extra_rounds: made.counter("extra_rounds_total", "Rounds above the first")?,
            admitted: made.counters("admitted_transactions_total", "Transactions admitted", "namespace")?,
            refused: made.counters("refused_total", "Requests refused", "code")?,
            ordered: made.counters("ordered_transactions_total", "Transactions ordered", "namespace")?,
            ordered_bytes: made.counters("ordered_bytes_total", "Bytes ordered", "namespace")?,
            latency: made.histograms("latency_seconds", "From arrival here to each tier", "tier")?,
            block_interval: made.histogram("block_interval_seconds", "Between one block and the next")?,
            fsync: made.histograms("durable_write_seconds", "One durable write", "stream")?,
            network_bytes: made.counters("network_bytes_total", "Bytes from and to peers", "direction")?,
            calls: made.counters("calls_total", "Calls answered", "method")?,
            connections: made.gauges("connections", "Open connections", "interface")?,
            streams: made.gauge("streams", "Open block and header streams")?,
            cpu_seconds: made.float("process_cpu_seconds", "CPU time of the process, all threads")?,
            resident_bytes: made.float("process_resident_memory_bytes", "Memory in use")?,
            start_time: made.float("process_start_time_seconds", "When the process started, since 1970")?,
            build: made.build()?,
            registry: made.0,
        };
        metrics.start_time.set(crate::cli::now().0 as f64 / 1000.0);
        metrics.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        RejectCode::ALL.iter().for_each(|code| metrics.refused.with_label_values(&[code.as_str()]).inc_by(0));
        Ok(metrics)
    }

    /// Counts the time from a transaction's arrival to a tier.
    pub fn observe_latency(&self, tier: Tier, seconds: f64) {
        let name = match tier {
            Tier::Batched => "batched",
            Tier::Secured => "secured",
            Tier::Ordered => "ordered",
        };
        self.latency.with_label_values(&[name]).observe(seconds);
    }

    /// Counts a refusal.
    pub fn count_refusal(&self, code: RejectCode) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: a metric that cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.cpu_seconds.set(cpu_seconds());
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// CPU seconds that this process has used, all threads together.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of this process; none where the system does not say.
pub fn resident_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}

/// Makes metrics of the prefix `squad_` and registers them.
struct Maker(Registry);

impl Maker {
    fn keep<T: prometheus::core::Collector + Clone + 'static>(&self, metric: T) -> Result<T, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn opts(name: &str, help: &str) -> Opts {
        // Names of the process's own metrics are Prometheus's convention.
        let name = if name.starts_with("process_") { name.to_owned() } else { format!("squad_{name}") };
        Opts::new(name, help)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<prometheus::IntGaugeVec, prometheus::Error> {
        self.keep(prometheus::IntGaugeVec::new(Self::opts(name, help), &[label])?)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.keep(Gauge::with_opts(Self::opts(name, help))?)
    }

    fn build(&self) -> Result<GaugeVec, prometheus::Error> {
        self.keep(GaugeVec::new(Self::opts("build_info", "The program's version"), &["version"])?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(IntCounter::with_opts(Self::opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(IntCounterVec::new(Self::opts(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::new(format!("squad_{name}"), help).buckets(LATENCY_BUCKETS.to_vec());
        self.keep(Histogram::with_opts(opts)?)
    }

    fn histograms(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(format!("squad_{name}"), help).buckets(LATENCY_BUCKETS.to_vec());
        self.keep(HistogramVec::new(opts, &[label])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = NodeMetrics::new().unwrap();
        metrics.height.set(7);
        metrics.observe_latency(Tier::Secured, 0.01);
        metrics.count_refusal(RejectCode::Busy);
        let text = metrics.render().unwrap();
        assert!(text.contains("squad_height 7"), "{text}");
        assert!(text.contains("squad_refused_total{code=\"busy\"} 1"));
        assert!(text.contains("squad_latency_seconds_count{tier=\"secured\"} 1"));
        assert!(text.contains("process_cpu_seconds "));
    }
}
