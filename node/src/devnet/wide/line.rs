//! One direction of a connection, with its delay.

use super::alarm::Alarm;
use bytes::{Bytes, BytesMut};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use squad_regions::Spread;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes under way in one direction of a connection; then no more is read, until some have arrived. Above what fits a
/// connection of 1 Gbit/s half around the world, so the proxy is not what limits it.
const UNDER_WAY: usize = 128 << 20;
/// What a piece counts beside its bytes, so that small ones are bounded as well.
const PIECE: usize = 256;
/// Bytes that are read at once.
const READ: usize = 64 << 10;
/// Room that a read has at least.
const LEAST_READ: usize = 8 << 10;

/// Bytes that were read together; none at the end.
struct Piece {
    /// When they arrive.
    at: Instant,
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// How long bytes are under way, and who says that they are there.
pub(super) struct Line {
    delay: Spread,
    alarm: Alarm,
    under_way: usize,
}

impl Line {
    pub(super) fn new(delay: Spread, alarm: Alarm) -> Self {
        Self { delay, alarm, under_way: UNDER_WAY }
    }

    /// Carries everything to the end, in order, each piece with a delay of its own: one that would overtake another arrives
    /// with it.
    ///
    /// # Errors
    /// An end that breaks.
    pub(super) async fn carry(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        seed: u64,
    ) -> io::Result<()> {
        let (sender, receiver) = unbounded_channel();
        tokio::try_join!(self.take(from, sender, StdRng::seed_from_u64(seed)), self.hand_over(receiver, to)).map(|_| ())
    }

    async fn take(
        &self,
        mut from: impl AsyncRead + Unpin,
        pieces: UnboundedSender<Piece>,
        mut rng: StdRng,
    ) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(self.under_way));
        let mut buffer = BytesMut::new();
        let mut last = Instant::now();
        loop {
            if buffer.capacity() < LEAST_READ {
                buffer.reserve(READ);
            }
            // What breaks here has an end for the other side, like any other: after all that came before it.
            let read = from.read_buf(&mut buffer).await.unwrap_or(0);
            last = last.max(Instant::now() + Duration::from_micros(self.delay.pick(rng.next_u64())));
            let bytes = buffer.split().freeze();
            let wanted = u32::try_from(bytes.len() + PIECE).unwrap_or(u32::MAX);
            let room = Arc::clone(&room).acquire_many_owned(wanted).await.ok();
            let piece = Piece { at: last, bytes, _room: room };
            if pieces.send(piece).is_err() || read == 0 {
                return Ok(());
            }
        }
    }

    async fn hand_over(&self, mut pieces: UnboundedReceiver<Piece>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        while let Some(Piece { at, bytes, _room }) = pieces.recv().await {
            self.alarm.at(at).await;
            if bytes.is_empty() {
                break;
            }
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ms: u64) -> Line {
        Line::new(Spread::fixed(ms * 1_000), Alarm::start().unwrap())
    }

    #[tokio::test]
    async fn bytes_come_whole_in_order_and_not_before_their_time() {
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut near, from) = tokio::io::duplex(READ);
        let (to, mut far) = tokio::io::duplex(READ);
        // Delays that differ: pieces would overtake each other.
        let line = Line::new(Spread::fitted(5_000.0, 15_000.0), Alarm::start().unwrap());
        let started = Instant::now();
        let mut received = Vec::new();
        let writing = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let reading = async {
            let mut first = [0; 1];
            far.read_exact(&mut first).await.unwrap();
            assert!(started.elapsed() >= Duration::from_micros(4_500), "nothing is faster than the least delay");
            received.push(first[0]);
            far.read_to_end(&mut received).await.unwrap();
        };
        let (carried, (), ()) = tokio::join!(line.carry(from, to, 7), writing, reading);
        carried.unwrap();
        assert!(received == sent, "what arrives is what was sent");
    }

    #[tokio::test]
    async fn a_sender_is_held_back_when_too_much_is_under_way() {
        let (mut near, from) = tokio::io::duplex(READ);
        // Nobody reads at the far end.
        let (to, _far) = tokio::io::duplex(1);
        let line = Line { under_way: 1 << 20, ..line(0) };
        let block = vec![0; 1 << 18];
        let mut taken = 0;
        let filling = async {
            // It ends when the line has taken what it may, and more would wait for ever.
            loop {
                tokio::select! {
                    biased;
                    written = near.write(&block) => taken += written.unwrap(),
                    () = settled() => break,
                }
            }
        };
        tokio::select! {
            _ = line.carry(from, to, 1) => panic!("it never ends"),
            () = filling => {}
        }
        assert!((1 << 19..=(1 << 20) + 3 * READ).contains(&taken), "{taken}");
    }

    /// Over when every other task of this thread has had its turns.
    async fn settled() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_end_arrives_after_what_came_before_it() {
        let (near, from) = tokio::io::duplex(READ);
        let (to, mut far) = tokio::io::duplex(READ);
        let line = line(20);
        let started = Instant::now();
        let talk = async {
            let mut near = near;
            near.write_all(b"last words").await.unwrap();
            drop(near);
            let mut heard = String::new();
            far.read_to_string(&mut heard).await.unwrap();
            assert!(started.elapsed() >= Duration::from_millis(20));
            heard
        };
        let (carried, heard) = tokio::join!(line.carry(from, to, 1), talk);
        carried.unwrap();
        assert_eq!(heard, "last words");
    }
}
