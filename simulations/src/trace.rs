//! What happened, line by line: one JSON object each, in the order in which it was computed.
//!
//! Every line has `t`, microseconds since the start of the run, and `e`, what happened:
//!
//! | `e` | other fields |
//! | --- | --- |
//! | `send` | `from`, `to`, `kind`, `bytes`, and `arrives`, when it reaches the receiver's connection; absent if it is lost |
//! | `handle` | `node`, `from`, `kind`, `bytes`: the receiver's own code takes it in |
//! | `batched`, `secured` | `node`, `epoch`, `sequence`, `transactions`: of an own batch |
//! | `decided` | `node`, `height`, `round`, `proposer`, `transactions` |
//! | `accused` | `node`, `operator` |
//! | `up`, `down` | `node` |
//!
//! Nodes are numbers. `kind` is as in `messages.csv`.

use crate::network::NodeIndex;
use crate::packet::Kind;
use crate::queue::Instant;
use squad_sequencer::Output;
use std::fmt::Write as _;
use std::io::Write;

/// Where lines go. After the first write that fails, nothing more is written.
pub struct Trace {
    out: Result<Box<dyn Write + Send>, std::io::Error>,
    line: String,
}

impl Trace {
    /// Writes to `out`, which should have a buffer.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: Ok(out), line: String::new() }
    }

    /// Writes what is left in buffers. Whether everything was written.
    pub fn finish(self) -> std::io::Result<()> {
        self.out?.flush()
    }

    fn end(&mut self) {
        self.line.push_str("}\n");
        if let Ok(out) = &mut self.out
            && let Err(error) = out.write_all(self.line.as_bytes())
        {
            self.out = Err(error);
        }
    }

    fn begin(&mut self, at: Instant, event: &str) {
        self.line.clear();
        let t = at.0.saturating_sub(crate::cluster::START.0);
        let _ = write!(self.line, "{{\"t\":{t},\"e\":\"{event}\"");
    }

    fn number(&mut self, key: &str, value: u64) {
        let _ = write!(self.line, ",\"{key}\":{value}");
    }

    pub(crate) fn send(
        &mut self,
        at: Instant,
        from: NodeIndex,
        to: NodeIndex,
        what: (Kind, u32),
        arrives: Option<Instant>,
    ) {
        self.begin(at, "send");
        self.number("from", from as u64);
        self.number("to", to as u64);
        let _ = write!(self.line, ",\"kind\":\"{}\"", what.0.name());
        self.number("bytes", what.1.into());
        if let Some(arrives) = arrives {
            self.number("arrives", arrives.0.saturating_sub(crate::cluster::START.0));
        }
        self.end();
    }

    pub(crate) fn handle(&mut self, at: Instant, node: NodeIndex, from: NodeIndex, kind: Kind, bytes: u32) {
        self.begin(at, "handle");
        self.number("node", node as u64);
        self.number("from", from as u64);
        let _ = write!(self.line, ",\"kind\":\"{}\"", kind.name());
        self.number("bytes", bytes.into());
        self.end();
    }

    pub(crate) fn life(&mut self, at: Instant, node: NodeIndex, up: bool) {
        self.begin(at, if up { "up" } else { "down" });
        self.number("node", node as u64);
        self.end();
    }

    pub(crate) fn output(&mut self, at: Instant, node: NodeIndex, output: &Output, proposer: Option<NodeIndex>) {
        match output {
            Output::Batched { batch, .. } | Output::Secured { batch, .. } => {
                let secured = matches!(output, Output::Secured { .. });
                self.begin(at, if secured { "secured" } else { "batched" });
                self.number("node", node as u64);
                self.number("epoch", batch.header().epoch.0);
                self.number("sequence", batch.header().sequence.0);
                self.number("transactions", batch.header().count.into());
            }
            Output::Ordered(decision) => {
                self.begin(at, "decided");
                self.number("node", node as u64);
                self.number("height", decision.block.block.header().height.0);
                self.number("round", decision.block.certificate.round.0.into());
                if let Some(proposer) = proposer {
                    self.number("proposer", proposer as u64);
                }
                self.number("transactions", decision.execution.count() as u64);
            }
            Output::Accused { operator, .. } => {
                self.begin(at, "accused");
                self.number("node", node as u64);
                let _ = write!(self.line, ",\"operator\":\"{operator}\"");
            }
            _ => return,
        }
        self.end();
    }
}
