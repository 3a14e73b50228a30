//! What wallets need around JSON-RPC: browsers' rules, and subscription ids as Ethereum writes them.

use jsonrpsee::{
    core::traits::IdProvider,
    server::{HttpBody, HttpResponse},
    types::SubscriptionId,
};
use squad_rpc::{Answering, Front, Head};
use std::net::SocketAddr;

/// The executor's front.
#[derive(Debug)]
pub(super) struct Wallets;

impl Front for Wallets {
    fn request(&self, head: &mut Head, _: SocketAddr) -> Option<Answering> {
        let preflight = head.method.as_str() == "OPTIONS";
        preflight.then(|| Box::pin(async { for_browsers(empty()) }) as Answering)
    }

    fn answer(&self, answer: HttpResponse) -> HttpResponse {
        for_browsers(answer)
    }

    fn ids(&self) -> &dyn IdProvider {
        &HexIds
    }
}

/// Subscription ids as Ethereum writes them.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        super::filters::random_id().into()
    }
}

fn empty() -> HttpResponse {
    let mut answer = HttpResponse::new(HttpBody::empty());
    if let Ok(status) = 204u16.try_into() {
        *answer.status_mut() = status;
    }
    answer
}

/// Lets pages of any origin read the answer: there are no cookies and no accounts here that a page could misuse.
fn for_browsers(mut answer: HttpResponse) -> HttpResponse {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "86400"),
    ] {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}
