//! The peer-to-peer network: mesh, bound identities, direct streams, fetch, scoring and limits.
