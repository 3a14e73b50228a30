//! What the core wants done.

use crate::consensus::Error;
use crate::log::LogEntry;
use crate::timeouts::TimeoutToken;
use squad_types::{
    Address, CommitCertificate, Evidence, HeaderHash, Height, ProposedBlock, Round, Signed, Verified, VerifiedProposal,
    Vote, VoteCertificate,
};
use std::sync::Arc;
use std::time::Duration;

/// An output. Perform them in order.
///
/// The one obligation between them: a `Log` has to be durable before any `PublishProposal`, `PublishVote`, `PublishVotes` or
/// `RelayVotes` that comes after it, in this call or a later one, leaves this node. Nothing else waits for it.
#[derive(Clone, Debug)]
pub enum Output {
    /// Append to the log.
    Log(LogEntry),
    /// Send a proposal to the committee.
    PublishProposal {
        /// The proposal with its block; one's own, or one that others may have missed.
        proposal: VerifiedProposal,
        /// It was sent before.
        again: bool,
    },
    /// Send an own vote to the committee.
    PublishVote {
        /// The vote.
        vote: Verified<Vote>,
        /// It is a prevote on the strength of this node's own judgement, so the data that the block newly covers has to be
        /// durable too before it leaves. False for a precommit, for nil, and where a quorum prevoted for the block before.
        covers_fresh: bool,
        /// It was sent before.
        again: bool,
    },
    /// Send a certificate over prevotes to the committee: it lets them accept a re-proposal.
    PublishVotes(VoteCertificate),
    /// Send others' votes to the committee, each as it is: they are why this node is in its round. Only after a while
    /// without progress.
    RelayVotes(Vec<Signed<Vote>>),
    /// Judge a block and answer with [`Input::Judged`](crate::Input::Judged). Asked once per proposal.
    Judge {
        /// The block.
        block: Arc<ProposedBlock>,
        /// The round of the proposal.
        round: Round,
        /// Who proposed it in that round (for a re-proposal not who built it).
        proposer: Address,
        /// Whether the soft rules apply. If not, a quorum is said to have prevoted for it, and only the hard rules count.
        fresh: bool,
    },
    /// A quorum voted for a block in a round, and this node has not got that proposal: ask peers for it. Asked once.
    MissingProposal {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// The block.
        block: HeaderHash,
    },
    /// This node proposes: build a block and answer with [`Input::Propose`](crate::Input::Propose).
    BuildValue {
        /// The height.
        height: Height,
        /// The round, which is the block's origin round.
        round: Round,
    },
    /// Set a timer, in place of an earlier one of its kind, and answer with [`Input::Timeout`](crate::Input::Timeout). The
    /// propose timer may be started later than now, when there is something to order.
    Schedule {
        /// The timer.
        token: TimeoutToken,
        /// How long it runs.
        after: Duration,
    },
    /// Stop a timer. Optional: its token is stale from here on.
    Cancel(TimeoutToken),
    /// A round begins.
    RoundStarted {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// Who proposes in it.
        proposer: Address,
    },
    /// The height is decided, for good. Answer with `StartHeight` for the next, once the block is stored; its record precedes
    /// whatever is logged of that next height.
    Decided {
        /// The block. Where this node never judged it (a quorum did) its body may yet have to be checked against its header.
        block: Arc<ProposedBlock>,
        /// The quorum.
        certificate: CommitCertificate,
    },
    /// Somebody signed two statements for one slot.
    Evidence(Box<Evidence>),
    /// The core cannot go on: stop the process. Nothing is signed any more.
    Halt(Error),
}
