//! What a client can hold of a server, and for how long.
#![allow(clippy::unwrap_used, missing_docs)]

mod http;
mod served;
mod stop;
mod unread;
