//! What clients speak to: JSON-RPC and WebSocket, gRPC, metrics and the page.
//!
//! Everything here answers from a [`Backend`], the seam that the driver implements.

pub mod backend;
pub mod entry;
pub mod follow;
pub mod grpc;
pub mod http;
pub mod rejection;
pub mod rpc;
pub mod status;
pub mod view;

pub use backend::{Accepted, Answer, Answers, Backend, BoxFuture, CertifiedHeader, Source, Submission, Ticket};
pub use entry::Gate;
pub use grpc::{GrpcServer, serve_grpc};
pub use http::{ListenError, serve_metrics, serve_rpc};
pub use rejection::{RejectCode, Rejected};
pub use status::{
    LaneStatus, Latencies, NamespaceStatus, NodeStatus, PeerStatus, Percentiles, Readiness, TrafficStatus,
};

#[cfg(test)]
pub(crate) mod tests;
