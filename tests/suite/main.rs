//! What holds for the workspace as a whole: its layout (`tidy`), its wire format (`vectors`) and its decoders (`decoders`).
#![allow(clippy::unwrap_used)]

mod decoders;
mod tidy;
mod vectors;
