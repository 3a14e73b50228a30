//! Several endpoints, asked at once, and what enough of them agree on.

use crate::error::{Fault, L1Error};
use crate::http::Http;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes};
use alloy_provider::transport::TransportError;
use alloy_provider::{Provider as _, ProviderBuilder, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{TransactionInput, TransactionRequest};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long an endpoint is left alone after its first fault; twice as long after each that follows.
const REST: Duration = Duration::from_millis(500);

/// The longest that it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How long all others are waited for once enough have answered, where every answer counts.
const GRACE: Duration = Duration::from_millis(500);

/// What is kept of an endpoint's own words.
const MAX_WORDS: usize = 200;

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct EndpointsConfig {
    /// JSON-RPC over HTTP, `http://` or `https://`.
    pub urls: Vec<String>,
    /// How many of them have to say the same; over half.
    pub agree: usize,
    /// How long each has for an answer.
    pub timeout: Duration,
    /// The chain that all of them have to be on.
    pub chain_id: u64,
}

struct Endpoint {
    /// Scheme, host and port: what follows may be a key.
    name: String,
    /// The whole of it, and what follows the name.
    hidden: [String; 2],
    provider: RootProvider,
    /// Whether it has said that it is on the right chain.
    on_chain: AtomicBool,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    faults: u32,
    until: Option<Instant>,
    after: String,
}

impl Endpoint {
    /// What may be shown of an error, which may quote the URL.
    fn words(&self, error: &TransportError) -> String {
        let [whole, rest] = &self.hidden;
        let mut text = error.to_string().replace(whole, &self.name);
        if rest.len() > 1 {
            text = text.replace(rest, "/…");
        }
        text.chars().take(MAX_WORDS).collect()
    }

    fn resting(&self) -> Option<Fault> {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let left = rest.until?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then(|| Fault::Resting { ms: left.as_millis() as u64, after: rest.after.clone() })
    }

    fn note(&self, fault: Option<&Fault>) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        *rest = fault.map_or_else(Rest::default, |fault| {
            let pause = REST.saturating_mul(1_u32 << rest.faults.min(7)).min(LONGEST_REST);
            let faults = rest.faults.saturating_add(1);
            Rest { faults, until: Some(Instant::now() + pause), after: fault.to_string() }
        });
    }
}

/// Endpoints of one chain.
///
/// An answer counts once `agree` of them have given it. While fewer than that many lie, no lie is taken; while that many
/// answer truly and in time, an answer comes. Whoever fails is left alone for a while, longer each time, so limits on requests
/// are respected.
pub struct Endpoints {
    all: Vec<Endpoint>,
    agree: usize,
    timeout: Duration,
    chain_id: u64,
}

impl Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.all.iter().map(|endpoint| endpoint.name.as_str()).collect();
        f.debug_struct("Endpoints").field("all", &names).field("agree", &self.agree).finish_non_exhaustive()
    }
}

impl Endpoints {
    /// Takes them without asking anything yet.
    pub fn new(config: &EndpointsConfig) -> Result<Self, L1Error> {
        let count = config.urls.len();
        if config.agree == 0 || config.agree > count || config.agree * 2 <= count {
            return Err(L1Error::Settings(format!(
                "{} of {count} endpoints have to agree: over half of them have to, and no more than there are",
                config.agree
            )));
        }
        // The process may have chosen one already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().timeout(config.timeout).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| L1Error::Settings(format!("no HTTP client: {error}")))?;
        let endpoint = |text: &String| {
            let url: reqwest::Url = text.parse().map_err(|error| {
                L1Error::Settings(format!("an endpoint is no URL ({error}); expected https://HOST[:PORT][/PATH]"))
            })?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(L1Error::Settings(format!(
                    "an endpoint's scheme is {}; expected http or https",
                    url.scheme()
                )));
            }
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let name = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
            let hidden = [
                url.to_string(),
                format!("{}{}", url.path(), url.query().map(|query| format!("?{query}")).unwrap_or_default()),
            ];
            let http = Http { client: client.clone(), url };
            let provider = ProviderBuilder::default().connect_client(RpcClient::new(http, false));
            Ok(Endpoint { name, hidden, provider, on_chain: AtomicBool::new(false), rest: Mutex::default() })
        };
        let all = config.urls.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&str> = config.urls.iter().map(String::as_str).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(L1Error::Settings("an endpoint is given twice: it would agree with itself".to_owned()));
        }
        Ok(Self { all, agree: config.agree, timeout: config.timeout, chain_id: config.chain_id })
    }

    /// The id of the chain that all have to be on.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// What may be shown of them: scheme, host and port.
    pub fn names(&self) -> Vec<&str> {
        self.all.iter().map(|endpoint| endpoint.name.as_str()).collect()
    }

    /// How many there are, and how many of them have to agree.
    pub fn count(&self) -> (usize, usize) {
        (self.all.len(), self.agree)
    }

    /// The height up to which enough endpoints call blocks final.
    pub async fn finalized(&self) -> Result<u64, L1Error> {
        self.height("the newest final block", BlockNumberOrTag::Finalized).await
    }

    /// The newest height that enough endpoints have reached.
    pub(crate) async fn height(&self, what: &str, tag: BlockNumberOrTag) -> Result<u64, L1Error> {
        let ask = async |provider: RootProvider| {
            let block = provider.get_block_by_number(tag).await?;
            Ok(block.map(|block| block.header.number))
        };
        self.reached(what, ask).await
    }

    /// The highest number that enough endpoints reach. All that answer soon count: one that lags and is quick must not hold back
    /// the others.
    pub(crate) async fn reached<T, F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<T, L1Error>
    where
        T: Copy + Debug + Ord,
        F: Future<Output = Result<Option<T>, TransportError>>,
    {
        let numbers = |answers: &[(usize, T)]| {
            let mut numbers: Vec<T> = answers.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            numbers.get(self.agree - 1).copied()
        };
        self.gather(what, ask, |answers, over| if over { numbers(answers) } else { None }).await
    }

    /// The hash of the block at a height.
    pub async fn hash_of(&self, number: u64) -> Result<B256, L1Error> {
        let ask = async |provider: RootProvider| {
            let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).await?;
            // One that answers with another block is wrong on its own account.
            Ok(block.filter(|block| block.header.number == number).map(|block| block.header.hash))
        };
        self.agreed(&format!("the hash of block {number}"), ask).await
    }

    /// What a contract answers as of a block, by the block's hash.
    pub async fn call_at(&self, block: B256, to: Address, data: Bytes) -> Result<Bytes, L1Error> {
        let ask = async |provider: RootProvider| {
            let call = TransactionRequest { to: Some(to.into()), ..Default::default() };
            let call = call.input(TransactionInput::new(data.clone()));
            Ok(Some(provider.call(call).block(BlockId::hash_canonical(block)).await?))
        };
        self.agreed(&format!("a call of {to} at block {block}"), ask).await
    }

    /// What enough endpoints answer alike.
    pub(crate) async fn agreed<T, F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<T, L1Error>
    where
        T: Clone + Debug + PartialEq,
        F: Future<Output = Result<Option<T>, TransportError>>,
    {
        self.gather(what, ask, |answers, _| {
            let alike = |value: &T| answers.iter().filter(|(_, other)| other == value).count();
            answers.iter().map(|(_, value)| value).find(|value| alike(value) >= self.agree).cloned()
        })
        .await
    }

    /// Asks all, until `enough` finds what it looks for in the answers; it is told when no others are waited for.
    pub(crate) async fn gather<T, R, F>(
        &self,
        what: &str,
        ask: impl Fn(RootProvider) -> F,
        enough: impl Fn(&[(usize, T)], bool) -> Option<R>,
    ) -> Result<R, L1Error>
    where
        T: Debug,
        F: Future<Output = Result<Option<T>, TransportError>>,
    {
        let ask = &ask;
        let one = |(at, endpoint)| async move { (at, self.ask(endpoint, ask).await) };
        let mut asked: FuturesUnordered<_> = self.all.iter().enumerate().map(one).collect();
        let (mut answers, mut faults) = (Vec::new(), Vec::new());
        let mut until: Option<Instant> = None;
        loop {
            let next = match until {
                Some(until) => timeout_at(until, asked.next()).await,
                None => Ok(asked.next().await),
            };
            match next {
                Ok(Some((at, Ok(answer)))) => answers.push((at, answer)),
                Ok(Some((at, Err(fault)))) => faults.push((at, fault)),
                Ok(None) | Err(_) => {}
            }
            if answers.len() >= self.agree {
                until = until.or(Some(Instant::now() + GRACE));
            }
            let over = asked.is_empty() || until.is_some_and(|until| until <= Instant::now());
            if let Some(found) = enough(&answers, over) {
                return Ok(found);
            }
            // Where answers have to be alike, the ones that are missing may still make it so.
            if over {
                until = None;
            }
            if asked.is_empty() {
                break;
            }
        }
        let mut said = String::new();
        for (at, answer) in &answers {
            let words: String = format!("{answer:?}").chars().take(MAX_WORDS).collect();
            let _ = write!(said, "{}{} says {words}", if said.is_empty() { "" } else { "; " }, self.all[*at].name);
        }
        for (at, fault) in &faults {
            let _ = write!(said, "{}{}: {fault}", if said.is_empty() { "" } else { "; " }, self.all[*at].name);
        }
        Err(L1Error::NoAgreement { what: what.to_owned(), needed: self.agree, said })
    }

    async fn ask<T, F>(&self, endpoint: &Endpoint, ask: &impl Fn(RootProvider) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<Option<T>, TransportError>>,
    {
        if let Some(resting) = endpoint.resting() {
            return Err(resting);
        }
        let asking = async {
            if !endpoint.on_chain.load(Ordering::Relaxed) {
                let id = endpoint.provider.get_chain_id().await?;
                if id != self.chain_id {
                    return Ok(Err(Fault::Refused(format!("is on chain {id}, expected {}", self.chain_id))));
                }
                endpoint.on_chain.store(true, Ordering::Relaxed);
            }
            ask(endpoint.provider.clone()).await.map(|answer| answer.ok_or(Fault::Unknown))
        };
        let answer = match timeout(self.timeout, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(Fault::Refused(endpoint.words(&error))),
            Err(_) => Err(Fault::Silent(self.timeout.as_millis() as u64)),
        };
        // Not to know a block yet is no fault.
        endpoint.note(answer.as_ref().err().filter(|fault| **fault != Fault::Unknown));
        answer
    }
}
