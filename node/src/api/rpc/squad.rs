//! `squad_*`: what the network itself has to say.

use super::{Args, Context, Origin, method};
use crate::api::backend::{CertifiedHeader, Source};
use crate::api::entry::{NamespaceName, decode_hex};
use crate::api::rejection::{RejectCode, Rejected};
use crate::api::status::NodeStatus;
use crate::api::view::{BlockView, CommitteeView, ConfirmationView};
use jsonrpsee::server::{RegisterMethodError, RpcModule};
use serde::{Deserialize, Deserializer};
use squad_types::{Encode, Epoch, Evidence, Genesis, Height, NamespaceId, NamespaceSpec, Tier, Timestamp, TxId};

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    method!(module, "squad_sendTransaction", send);
    method!(module, "squad_getConfirmation", confirmation);
    method!(module, "squad_getBlock", block);
    method!(module, "squad_getHeader", header);
    method!(module, "squad_getCommittee", committee);
    method!(module, "squad_getCommitteeProof", committee_proof);
    method!(module, "squad_status", status);
    method!(module, "squad_genesis", genesis);
    method!(module, "squad_namespaces", namespaces);
    method!(module, "squad_evidence", evidence);
    Ok(())
}

impl<'de> Deserialize<'de> for NamespaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a namespace's name or id is expected")]
        enum Form {
            Id(u32),
            Name(String),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Id(id) => Self::Id(NamespaceId(id)),
            Form::Name(name) => Self::from(name.as_str()),
        })
    }
}

/// A height, or the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeightName {
    Latest,
    At(Height),
}

impl<'de> Deserialize<'de> for HeightName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a height (a number) or \"latest\" is expected")]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(height) => Ok(Self::At(Height(height))),
            Form::Text(text) if text == "latest" => Ok(Self::Latest),
            Form::Text(text) => match text.parse() {
                Ok(height) => Ok(Self::At(height)),
                Err(_) => Err(serde::de::Error::custom("a height (a number) or \"latest\" is expected")),
            },
        }
    }
}

impl HeightName {
    fn resolve(self, context: &Context) -> Height {
        match self {
            Self::Latest => *context.gate.backend().tip().borrow(),
            Self::At(height) => height,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    namespace: Option<NamespaceName>,
    data: String,
    valid_until: Option<Timestamp>,
    wait: Option<Tier>,
}

async fn send(context: &Context, origin: &Origin, mut args: Args) -> Result<ConfirmationView, Rejected> {
    let sent: Sent = args.required("{namespace, data, valid_until, wait}")?;
    args.end()?;
    let spec = match &sent.namespace {
        Some(name) => context.gate.namespace(name)?,
        None => context.path_namespace(origin)?,
    };
    let data =
        decode_hex(&sent.data, "data").inspect_err(|refusal| context.gate.metrics().count_refusal(refusal.code))?;
    let (wait, source) = (sent.wait.unwrap_or(Tier::Batched), Source::Client(origin.client));
    context.gate.submit(&spec, data, sent.valid_until, wait, source).await.map(ConfirmationView::from)
}

async fn confirmation(context: &Context, _: &Origin, mut args: Args) -> Result<ConfirmationView, Rejected> {
    let (id, wait): (TxId, Option<Tier>) = (args.required("id")?, args.optional("wait")?);
    args.end()?;
    context.gate.confirmation(id, wait).await.map(ConfirmationView::from)
}

fn not_there(height: Height, context: &Context) -> Rejected {
    let tip = *context.gate.backend().tip().borrow();
    Rejected::new(RejectCode::NotFound, format!("height {height} has no block here: heights go from 1 to {tip} now"))
}

async fn block(context: &Context, _: &Origin, mut args: Args) -> Result<BlockView, Rejected> {
    let (namespace, height): (NamespaceName, HeightName) = (args.required("namespace")?, args.required("height")?);
    args.end()?;
    let spec = context.gate.namespace(&namespace)?;
    let height = height.resolve(context);
    let found = context.gate.backend().namespace_block(spec.id, height).await?;
    found.map(|block| BlockView::from(&*block)).ok_or_else(|| not_there(height, context))
}

async fn header(context: &Context, _: &Origin, mut args: Args) -> Result<CertifiedHeader, Rejected> {
    let height: HeightName = args.required("height")?;
    args.end()?;
    let height = height.resolve(context);
    context.gate.backend().header(height).await?.ok_or_else(|| not_there(height, context))
}

async fn committee(context: &Context, _: &Origin, mut args: Args) -> Result<CommitteeView, Rejected> {
    let epoch: Option<Epoch> = args.optional("epoch")?;
    args.end()?;
    let backend = context.gate.backend();
    let epoch = match epoch {
        Some(epoch) => epoch,
        None => backend.status().await.epoch,
    };
    let unknown = || Rejected::new(RejectCode::NotFound, format!("the committee of epoch {epoch} is not known here"));
    backend.committee(epoch).await?.map(CommitteeView::from).ok_or_else(unknown)
}

/// The canonical form of a `CommitteeProof`, in hex.
async fn committee_proof(context: &Context, _: &Origin, mut args: Args) -> Result<String, Rejected> {
    let epoch: Epoch = args.required("epoch")?;
    args.end()?;
    if epoch == Epoch::ZERO {
        let reason = "epoch 0 has no proof: its committee stands in the genesis";
        return Err(Rejected::new(RejectCode::MalformedParameter, reason));
    }
    let unknown = || Rejected::new(RejectCode::NotFound, format!("the committee of epoch {epoch} is not known here"));
    let proof = context.gate.backend().committee_proof(epoch).await?.ok_or_else(unknown)?;
    Ok(format!("0x{}", hex::encode(proof.to_bytes())))
}

async fn status(context: &Context, _: &Origin, args: Args) -> Result<NodeStatus, Rejected> {
    args.end()?;
    Ok(context.gate.backend().status().await)
}

async fn genesis(context: &Context, _: &Origin, args: Args) -> Result<Genesis, Rejected> {
    args.end()?;
    Ok(context.gate.backend().genesis().as_ref().clone())
}

async fn namespaces(context: &Context, _: &Origin, args: Args) -> Result<Vec<NamespaceSpec>, Rejected> {
    args.end()?;
    Ok(context.gate.backend().namespaces().as_ref().clone())
}

async fn evidence(context: &Context, _: &Origin, args: Args) -> Result<Vec<Evidence>, Rejected> {
    args.end()?;
    Ok(context.gate.backend().evidence().await)
}
