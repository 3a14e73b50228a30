//! Verification for other languages: a question in JSON, an answer in JSON, nothing else.

use crate::{CommitteeFollower, Pin, Place, TrustError, TrustedCommittee, VerifiedConfirmation, VerifyError, verify};
use serde::Deserialize;
use serde_json::{Value, json};
use squad_types::{CommitteeProof, Confirmation, Decode, Epoch, Genesis, Timestamp, Transaction};

/// Bytes of the largest question: a confirmation of a committee of a thousand is a few megabytes.
pub const MAX_QUESTION_BYTES: usize = 64 << 20;

/// What is asked. Exactly one of `genesis`, `committee` and `pin` is what the reader trusts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A confirmation by itself, within an answer of `squad_*`, or within a whole JSON-RPC answer.
    confirmation: Value,
    /// The genesis of the network, whose first committee is trusted.
    genesis: Option<Genesis>,
    /// A committee, as [`TrustedCommittee::to_json`] writes it.
    committee: Option<Value>,
    /// A committee's hash; `proofs` then begins with the one for its epoch.
    pin: Option<Pin>,
    /// Proofs of later committees in hex, as `squad_getCommitteeProof` gives them, in order.
    #[serde(default)]
    proofs: Vec<String>,
    /// The transaction's bytes in hex, if the confirmation has to be of these.
    data: Option<String>,
    /// The reader's clock, in milliseconds since the Unix epoch.
    now: Timestamp,
}

/// What does not hold, and why.
struct Refusal {
    part: &'static str,
    reason: String,
}

impl Refusal {
    fn form(reason: impl ToString) -> Self {
        Self { part: "form", reason: reason.to_string() }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self { part: error.part(), reason: error.to_string() }
    }
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        Self { part: "trusted committee", reason: error.to_string() }
    }
}

/// Checks a confirmation, as [`verify`] does.
///
/// The question is an object: `confirmation`; one of `genesis`, `committee` (the form of [`TrustedCommittee::to_json`]) and
/// `pin` (the form of [`Pin`]); `proofs`, a list of committee proofs in hex for later epochs; `data`, the transaction's
/// bytes in hex, if they are to be compared; and `now`, in milliseconds since the Unix epoch.
///
/// The answer is `{"valid": true, "tier", "id", "epoch", "transaction"}` with `batch` or `block` for the place, or
/// `{"valid": false, "part", "reason"}`. It is always an answer: nothing in the question makes this fail.
pub fn verify_json(question: &str) -> String {
    let answer = answer(question).map(|verified| shown(&verified));
    let answer =
        answer.unwrap_or_else(|Refusal { part, reason }| json!({ "valid": false, "part": part, "reason": reason }));
    answer.to_string()
}

fn answer(question: &str) -> Result<VerifiedConfirmation, Refusal> {
    if question.len() > MAX_QUESTION_BYTES {
        let reason = format!("the question has {} bytes, {MAX_QUESTION_BYTES} are read at most", question.len());
        return Err(Refusal::form(reason));
    }
    let question: Question = serde_json::from_str(question).map_err(Refusal::form)?;
    let confirmation = confirmation(question.confirmation.clone())
        .map_err(|error| Refusal::form(format!("this is no confirmation: {error}")))?;
    let epoch = confirmation.epoch();
    let committees = committees(&question, epoch)?;
    let trusted = committees.committee(epoch).unwrap_or_else(|| committees.newest());
    let verified = verify(&confirmation, trusted, question.now)?;
    if let Some(data) = &question.data {
        let data = hexadecimal("data", data)?;
        let reference = verified.transaction();
        let (namespace, valid_until) = (reference.namespace, reference.valid_until);
        let theirs = Transaction { namespace, valid_until, hint: None, data: data.into() };
        if theirs.reference() != *reference {
            let reason = "transaction: the confirmation holds, but it is of other bytes than those given".to_owned();
            return Err(Refusal { part: "transaction", reason });
        }
    }
    Ok(verified)
}

/// Reads a confirmation by itself, as an answer of `squad_*` has it, or within a whole JSON-RPC answer.
///
/// # Errors
/// What is missing or too much.
pub fn confirmation(mut value: Value) -> Result<Confirmation, serde_json::Error> {
    for wrapper in ["result", "confirmation"] {
        if let Some(inner) = value.get_mut(wrapper) {
            value = inner.take();
        }
    }
    serde_json::from_value(value)
}

/// The committees that follow from what is trusted, as far as `epoch`: later ones are not needed.
fn committees(question: &Question, epoch: Epoch) -> Result<CommitteeFollower, Refusal> {
    let mut proofs = Vec::with_capacity(question.proofs.len());
    for text in &question.proofs {
        let bytes = hexadecimal("proofs", text)?;
        let proof = CommitteeProof::from_bytes(bytes.into());
        proofs.push(proof.map_err(|error| Refusal::form(format!("proofs: this is no committee proof: {error}")))?);
    }
    let wanted = |proof: &&CommitteeProof| proof.header.epoch < epoch;
    let trusted = match (&question.genesis, &question.committee, &question.pin) {
        (Some(genesis), None, None) => TrustedCommittee::from_genesis(genesis)?,
        (None, Some(committee), None) => TrustedCommittee::from_json(&committee.to_string())?,
        (None, None, Some(pin)) => return Ok(CommitteeFollower::from_pin(pin, proofs.iter(), question.now)?),
        _ => return Err(Refusal::form("give exactly one of genesis, committee and pin to trust")),
    };
    trusted.check_fresh(question.now)?;
    let mut follower = CommitteeFollower::from_trusted(trusted);
    proofs.iter().filter(wanted).try_for_each(|proof| follower.follow(proof))?;
    Ok(follower)
}

fn hexadecimal(what: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    hex::decode(digits).map_err(|error| Refusal::form(format!("{what}: {error}: give bytes in hex")))
}

/// What a confirmation says, now that it is verified: the answer of [`verify_json`] for one that holds.
pub fn shown(verified: &VerifiedConfirmation) -> Value {
    let transaction = verified.transaction();
    let mut value = json!({
        "valid": true,
        "tier": verified.tier(),
        "id": transaction.id(),
        "epoch": verified.epoch(),
        "transaction": transaction,
    });
    match verified.place() {
        Place::Batch { operator, sequence } => {
            value["batch"] = json!({ "operator": operator, "sequence": sequence });
        }
        Place::Block { height, hash, timestamp, index } => {
            value["block"] = json!({ "height": height, "hash": hash, "timestamp": timestamp, "index": index });
        }
    }
    value
}
