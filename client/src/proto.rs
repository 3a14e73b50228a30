//! The gRPC messages and stubs, generated from `proto/squad.proto`, where every field is documented.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("squad");

/// `proto/squad.proto` in its encoded form, with comments: what a server answers reflection with.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("squad");

impl From<squad_types::Tier> for Tier {
    fn from(tier: squad_types::Tier) -> Self {
        match tier {
            squad_types::Tier::Batched => Self::Batched,
            squad_types::Tier::Secured => Self::Secured,
            squad_types::Tier::Ordered => Self::Ordered,
        }
    }
}

impl From<Tier> for squad_types::Tier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Unspecified | Tier::Batched => Self::Batched,
            Tier::Secured => Self::Secured,
            Tier::Ordered => Self::Ordered,
        }
    }
}
