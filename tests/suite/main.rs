//! What holds for the workspace as a whole: its layout (`tidy`), its wire format (`vectors`), its decoders (`decoders`),
//! and networks of real processes (`e2e`).
#![allow(clippy::unwrap_used)]

mod decoders;
mod e2e;
mod tidy;
mod vectors;
