//! What the core is told.

use crate::proposer::ProposerSchedule;
use crate::timeouts::TimeoutToken;
use squad_types::{
    Committee, Epoch, HeaderHash, Height, ProposedBlock, Round, Verified, VerifiedProposal, Vote, VoteCertificate,
};
use std::sync::Arc;

/// A height to begin.
#[derive(Clone, Debug)]
pub struct StartHeight {
    /// The height; its parent is decided. Heights only go up; they may jump (after catching up).
    pub height: Height,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its committee.
    pub committee: Arc<Committee>,
    /// The committee of the height after it, whose early statements are kept. The same one except at an epoch's end.
    pub next_committee: Arc<Committee>,
    /// Who proposes in which round, from that committee.
    pub proposers: Arc<ProposerSchedule>,
    /// Whether this node may take part. A node that is catching up may not. A node outside the committee only follows anyway.
    pub voting: bool,
}

/// The answer to [`Output::Judge`](crate::Output::Judge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Acceptable: by the hard rules, and if `fresh` was asked by the soft rules too, with the data it newly covers held.
    /// (The vote that follows says with `covers_fresh` that this data has to be durable before it leaves.)
    Valid,
    /// Breaks a hard rule. May depend only on bytes that the header hash commits to, and on the parent chain: every honest
    /// validator has to come to it.
    Invalid,
    /// A soft rule speaks against it, for now. May be followed by `Valid`.
    Refuse,
    /// The block is not what its header commits to (say, the cut does not hash to `cut_digest`). Says nothing about the header,
    /// because whoever passed it on may have changed it. Never answer `Invalid` for this.
    WrongBody,
}

/// An input. Every statement in it had its signature checked before.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin a height, leaving the current one behind whether it was decided here or not.
    StartHeight(StartHeight),
    /// A proposal, of any height and from anybody.
    Proposal(VerifiedProposal),
    /// A vote, of any height and from anybody, one's own echoed ones included.
    Vote(Verified<Vote>),
    /// A certificate over votes, unchecked: it is checked here if it is news.
    Votes(VoteCertificate),
    /// The answer to a judge request. None is needed while data is missing; it may come any time later, and change from
    /// `Refuse` to `Valid`.
    Judged {
        /// The height of the request.
        height: Height,
        /// The round of the request.
        round: Round,
        /// The block that was judged.
        block: HeaderHash,
        /// The verdict.
        verdict: Verdict,
    },
    /// The answer to [`Output::BuildValue`](crate::Output::BuildValue): a block built for that height and round, valid by all
    /// rules. Ignored once its round is over.
    Propose {
        /// The round.
        round: Round,
        /// The block.
        block: Arc<ProposedBlock>,
    },
    /// A timer ran out. Stale tokens are ignored.
    Timeout(TimeoutToken),
    /// Sign from this height on. Until it comes nothing is ever signed: a node first makes sure that it knows every
    /// statement that it ever signed. Replays the log if there is one of the current height.
    AllowSigning {
        /// The first height that may be signed for.
        from: Height,
    },
}
