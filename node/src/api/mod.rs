//! What clients speak to: JSON-RPC and WebSocket, gRPC, metrics and the page.
//!
//! Everything here answers from a [`Backend`], the seam that the driver implements.

pub mod backend;
pub mod rejection;
pub mod status;

pub use backend::{Backend, BoxFuture, CertifiedHeader, Source, Submission};
pub use rejection::{RejectCode, Rejected};
pub use status::{
    LaneStatus, Latencies, NamespaceStatus, NodeStatus, PeerStatus, Percentiles, Readiness, TrafficStatus,
};
