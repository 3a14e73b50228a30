//! The calls that transactions go out by, and the thread that keeps their time.

use super::load::Load;
use super::schedule::Schedule;
use super::tally::Tally;
use super::targets::{ChainClock, channel};
use futures::stream;
use squad_client::proto::squad_client::SquadClient;
use squad_client::proto::{self, SubmitRequest};
use squad_types::NamespaceSpec;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// Groups that wait for a call whose operator does not read: half a second and more of a call's share. What is due
/// beyond them is not sent, which is counted.
const WAITING: usize = 1_024;
/// Pause before a call that broke is opened again.
const REOPEN: Duration = Duration::from_millis(250);

/// One call's door for the pacing thread: closed while there is no call.
#[derive(Clone, Default)]
struct Door(Arc<Mutex<Option<mpsc::Sender<SubmitRequest>>>>);

impl Door {
    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<SubmitRequest>>> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request to the call; whether there was room.
    fn offer(&self, request: SubmitRequest) -> bool {
        self.lock().as_ref().is_some_and(|sender| sender.try_send(request).is_ok())
    }
}

/// What a call counts, shared with whoever waits for the end.
#[derive(Clone)]
struct Shared(Arc<Mutex<(Tally, Vec<String>)>>);

/// All calls of a run.
pub(super) struct Calls {
    doors: Vec<Door>,
    counts: Vec<Shared>,
    clients: Vec<SquadClient<Channel>>,
}

/// What became of a run.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// Why calls broke.
    pub(super) broken: Vec<String>,
}

/// What pacing saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// By how much a group left late at most.
    pub(super) latest: Duration,
    /// By how much on average.
    pub(super) mean: Duration,
}

impl Calls {
    /// `each` calls to every target, neighbours to different ones; whether they keep every latency.
    pub(super) fn new(urls: &[String], each: u32, latencies: bool) -> anyhow::Result<Self> {
        let mut calls = Self { doors: Vec::new(), counts: Vec::new(), clients: Vec::new() };
        for url in (0..each).flat_map(|_| urls) {
            calls.clients.push(SquadClient::new(channel(url)?));
            calls.doors.push(Door::default());
            calls.counts.push(Shared(Arc::new(Mutex::new((Tally::new(latencies), Vec::new())))));
        }
        Ok(calls)
    }

    pub(super) fn len(&self) -> usize {
        self.doors.len()
    }

    /// Opens the calls; they count answers from `start` on, until they are dropped.
    pub(super) fn open(&self, schedule: Schedule, start: Instant) -> tokio::task::JoinSet<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for (at, client) in self.clients.iter().enumerate() {
            tasks.spawn(keep_open(
                client.clone(),
                self.doors[at].clone(),
                self.counts[at].clone(),
                schedule,
                at,
                start,
            ));
        }
        tasks
    }

    /// Sends every group when it is due, on a thread of its own: timers of the runtime are no finer than a millisecond.
    pub(super) fn pace(
        &self,
        schedule: Schedule,
        load: Load,
        spec: &NamespaceSpec,
        validity: Option<(ChainClock, u64)>,
        start: Instant,
    ) -> tokio::task::JoinHandle<(Pace, u64, u64)> {
        let (doors, namespace) = (self.doors.clone(), spec.id.0);
        tokio::task::spawn_blocking(move || {
            let (mut pace, mut late, mut sent, mut unsent) = (Pace::default(), Duration::ZERO, 0, 0);
            for group in 0..schedule.groups() {
                let due = schedule.due(group);
                let early = due.saturating_sub(start.elapsed());
                if !early.is_zero() {
                    std::thread::sleep(early);
                }
                let request = SubmitRequest {
                    id: group * schedule.group,
                    namespace,
                    valid_until_ms: validity.as_ref().map_or(0, |(clock, span)| clock.now() + span),
                    wait: proto::Tier::from(schedule.tier(group)).into(),
                    batch: load.group(&schedule, group),
                    ..SubmitRequest::default()
                };
                let behind = start.elapsed().saturating_sub(due);
                late += behind;
                pace.latest = pace.latest.max(behind);
                let taken = doors[schedule.stream(group)].offer(request);
                if schedule.measures(due) {
                    *if taken { &mut sent } else { &mut unsent } += schedule.group;
                }
            }
            pace.mean = late / u32::try_from(schedule.groups().max(1)).unwrap_or(u32::MAX);
            (pace, sent, unsent)
        })
    }

    /// No more will be sent: operators answer what is open and end the calls.
    pub(super) fn close(&self) {
        self.doors.iter().for_each(|door| drop(door.lock().take()));
    }

    /// What the calls have counted.
    pub(super) fn outcome(&self) -> Outcome {
        let mut outcome = Outcome { tally: Tally::default(), broken: Vec::new() };
        for Shared(counts) in &self.counts {
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.tally.merge(&counts.0);
            outcome.broken.extend(counts.1.iter().cloned());
        }
        outcome
    }
}

/// Reasons of broken calls that are kept.
const MAX_BROKEN: usize = 8;

async fn keep_open(
    mut client: SquadClient<Channel>,
    door: Door,
    counts: Shared,
    schedule: Schedule,
    at: usize,
    start: Instant,
) {
    loop {
        let (sender, mut groups) = mpsc::channel(WAITING);
        *door.lock() = Some(sender);
        let outgoing = stream::poll_fn(move |context| groups.poll_recv(context));
        let why = exchange(&mut client, outgoing, &counts, &schedule, at, start).await;
        // Taken by whoever closed the calls: nothing is sent any more.
        let closed = door.lock().take().is_none();
        let Some(why) = why.filter(|_| !(closed && start.elapsed() >= schedule.end())) else { return };
        {
            let mut counts = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
            if counts.1.len() < MAX_BROKEN {
                counts.1.push(why);
            }
        }
        if start.elapsed() >= schedule.end() {
            return;
        }
        tokio::time::sleep(REOPEN).await;
    }
}

/// Counts answers until the call ends; why, if it broke.
async fn exchange(
    client: &mut SquadClient<Channel>,
    outgoing: impl futures::Stream<Item = SubmitRequest> + Send + 'static,
    counts: &Shared,
    schedule: &Schedule,
    at: usize,
    start: Instant,
) -> Option<String> {
    let mut replies = match client.submit_transactions(outgoing).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return Some(status.to_string()),
    };
    loop {
        match replies.message().await {
            Ok(Some(reply)) => {
                let now = start.elapsed();
                let mut counts = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
                for answer in reply.answers {
                    counts.0.answer(schedule, at, answer, now);
                }
            }
            Ok(None) if start.elapsed() >= schedule.end() => return None,
            Ok(None) => return Some("the operator ended the call".to_owned()),
            Err(status) => return Some(status.to_string()),
        }
    }
}
