//! A client's settings.

use std::time::Duration;

/// Which operators a client uses, and how patient it is with them.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// gRPC addresses, `http://host:port`, in order of preference.
    pub operators: Vec<String>,
    /// Time to connect, and to answer a call that does not wait for the network.
    pub call_timeout: Duration,
    /// Time without a block after which a stream is left. An idle network makes a block each second.
    pub stall: Duration,
    /// How often another operator is asked for its tip, with proof, to see whether the current one lags.
    pub probe_interval: Duration,
    /// Heights by which an operator may stay behind the proven tip.
    pub lag_heights: u64,
    /// The first wait before an operator that failed is tried again; it doubles up to `max_back_off`.
    pub back_off: Duration,
    /// The longest such wait.
    pub max_back_off: Duration,
    /// How long an operator that served something false is set aside.
    pub set_aside: Duration,
    /// Time for a submission to reach its tier, all operators together.
    pub submit_timeout: Duration,
    /// Time that one operator has to bring a submission to its tier before the next one is given it too. Less than the
    /// tier usually takes only costs repetitions.
    pub submit_patience: Duration,
    /// Bytes of the largest message that is read: a block of one namespace. Networks allow 256 MiB; the default of their
    /// parameters is 16 MiB.
    pub max_message_bytes: usize,
}

impl ClientConfig {
    /// The defaults, for these operators.
    pub fn new(operators: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            operators: operators.into_iter().map(Into::into).collect(),
            call_timeout: Duration::from_secs(3),
            stall: Duration::from_secs(10),
            probe_interval: Duration::from_secs(2),
            lag_heights: 20,
            back_off: Duration::from_millis(100),
            max_back_off: Duration::from_secs(10),
            set_aside: Duration::from_secs(600),
            submit_timeout: Duration::from_secs(30),
            submit_patience: Duration::from_secs(5),
            max_message_bytes: 64 << 20,
        }
    }
}
