//! One connection: a handshake, then requests, answered in their order.
//!
//! The reading side appends produced batches at once, in the order they came, and queues what is to be answered; the writing
//! side waits for each answer in turn. The queue is bounded: when it is full, the socket is not read, and the producer at the
//! other end slows down; so it is when answers to produce requests take too much memory. Requests other than produce are
//! carried out by the writing side when their turn has come.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::dispatch::{self, Peer};
use super::frames::{FrameEnd, Frames};
use super::listener::Shared;
use crate::broker::ProducePending;
use crate::limits::{HANDSHAKE_FRAME_BYTES_MAX, PRODUCE_ANSWERS_BYTES_MAX, REQUEST_VALUE_BYTES};
use crate::metrics::SurfaceLabel;
use crate::protocol::cursor::Reader;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::handshake::HandshakeAnswer;
use crate::protocol::parts::Parts;
use crate::request_room::{HeldRoom, RequestRoom};
use crate::shutdown::Shutdown;
use crate::strangers::Stranger;

/// Bytes of small answers that are gathered into one write.
const WRITE_GATHER_BYTES: usize = 32 << 10;
/// Bytes that are written at once.
const WRITE_PIECE_BYTES: usize = 256 << 10;
/// Longest time that a peer has for its last answers when the broker ends: shorter than the whole drain.
const PEER_DRAIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Silence after which the system asks whether the peer is still there.
const KEEPALIVE_WAIT: Duration = Duration::from_mins(1);

/// What the writing side does next.
pub(super) enum Turn {
    /// Send an answer that is ready.
    Answer(Vec<Bytes>),
    /// Answer a produce request when its batches are durable. The room is that of the answer, of the connection's own.
    Produce(u32, ProducePending, HeldRoom),
    /// Carry out a request and answer it. Its room is given back then.
    Request(dispatch::Work, HeldRoom),
    /// Send an answer and close: the peer is not understood any more.
    Last(Vec<Bytes>),
}

/// Serves a connection over TCP to its end.
pub(super) async fn serve_tcp(shared: &Arc<Shared>, stream: TcpStream, stranger: &Stranger) {
    // A peer that vanished without a word must not keep its place for ever.
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_WAIT);
    socket2::SockRef::from(&stream)
        .set_tcp_keepalive(&keepalive)
        .ok();
    // Answers are small and somebody waits for them.
    stream.set_nodelay(true).ok();
    let (reading, writing) = stream.into_split();
    serve(shared, reading, writing, stranger).await;
}

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    reading: impl AsyncRead + Unpin,
    writing: impl AsyncWrite + Unpin,
    stranger: &Stranger,
) {
    let label = SurfaceLabel {
        surface: "protocol",
    };
    let connections = &shared.broker.metrics().connections;
    connections.accepted.get_or_create(&label).inc();
    let _open = Raised::new(connections.open.get_or_create_owned(&label));
    let in_flight = shared.config.in_flight_max.max(1);
    let (turns, queue) = mpsc::channel(in_flight);
    let served = async {
        let frame_wait_max = Duration::from_millis(shared.config.frame_ms_max);
        let write_wait_max = Duration::from_millis(shared.config.write_ms_max);
        let mut frames = Frames::new(reading, frame_wait_max);
        tokio::join!(
            read(shared, &mut frames, turns, stranger),
            write(writing, queue, write_wait_max)
        );
        frames.discard().await;
    };
    tokio::select! {
        () = served => {}
        () = drain_is_over(shared.broker.shutdown()) => {}
    }
}

/// Counts in a gauge for as long as it lives, however the connection ends.
struct Raised(Gauge);

impl Raised {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Returns some time after the broker has begun to end: who does not take the answers until then gets none.
async fn drain_is_over(shutdown: &Shutdown) {
    shutdown.wait().await;
    tokio::time::sleep(PEER_DRAIN_WAIT_MAX).await;
}

async fn read(
    shared: &Arc<Shared>,
    frames: &mut Frames<impl AsyncRead + Unpin>,
    turns: mpsc::Sender<Turn>,
    stranger: &Stranger,
) {
    let shutdown = shared.broker.shutdown().clone();
    let wait_max = Duration::from_millis(shared.config.handshake_ms_max);
    let handshake = tokio::select! {
        shaken = tokio::time::timeout(wait_max, shake_hands(shared, frames)) => shaken,
        () = shutdown.wait() => return,
    };
    let peer = match handshake {
        Ok(Ok((peer, answer))) => {
            stranger.is_known_now();
            turns.send(Turn::Answer(answer)).await.ok();
            peer
        }
        Ok(Err(Some(last))) => {
            turns.send(Turn::Last(last)).await.ok();
            return;
        }
        Ok(Err(None)) | Err(_) => return,
    };
    // Each connection has its own: who does not read its answers is not read from, and holds up nobody.
    let answers = RequestRoom::new(PRODUCE_ANSWERS_BYTES_MAX);
    loop {
        let frame_bytes_max = shared.config.frame_bytes_max;
        let length = tokio::select! {
            length = frames.next_length(frame_bytes_max) => length,
            () = shutdown.wait() => return,
            () = turns.closed() => return,
        };
        let turn = match length {
            Ok(length) => request(shared, &peer, frames, length, &answers).await,
            Err(end) => Err(end),
        };
        frames.release(shared.kept_buffer_bytes());
        let turn = match turn {
            Ok(turn) => turn,
            Err(FrameEnd::Closed | FrameEnd::TooSlow) => return,
            Err(FrameEnd::TooLarge(error)) => {
                Turn::Last(refused(0, ErrorCode::FrameTooLarge, &error.to_string()))
            }
        };
        let is_last = matches!(turn, Turn::Last(_));
        if turns.send(turn).await.is_err() || is_last {
            return;
        }
    }
}

/// Reads the first frame and decides whether to talk to the peer. An error may carry a last answer.
async fn shake_hands(
    shared: &Shared,
    frames: &mut Frames<impl AsyncRead + Unpin>,
) -> Result<(Peer, Vec<Bytes>), Option<Vec<Bytes>>> {
    let too_large = |end: FrameEnd| match end {
        FrameEnd::TooLarge(error) => Some(refused(0, ErrorCode::FrameTooLarge, &error.to_string())),
        FrameEnd::Closed | FrameEnd::TooSlow => None,
    };
    let length = frames
        .next_length(HANDSHAKE_FRAME_BYTES_MAX)
        .await
        .map_err(too_large)?;
    // Not the room that requests share: strangers would take it from those who are let in. There are as many handshakes as
    // connections, and each is short.
    let mut room = RequestRoom::new(HANDSHAKE_FRAME_BYTES_MAX.into()).request();
    let body = frames.body(length, &mut room).await.map_err(too_large)?;
    let mut reader = Reader::new(body);
    let header = dispatch::header(&mut reader)
        .map_err(|refusal| Some(refused(0, refusal.code, &refusal.message)))?;
    let id = header.correlation_id;
    let answer = dispatch::handshake(shared, header, &mut reader);
    match answer {
        Ok(peer) => {
            let answer = HandshakeAnswer {
                version: crate::protocol::handshake::PROTOCOL_VERSION,
                broker_version: env!("CARGO_PKG_VERSION").to_owned(),
                frame_bytes_max: shared.config.frame_bytes_max,
                batch_bytes_max: shared.broker.defaults().batch_bytes_max,
                record_bytes_max: shared.broker.defaults().record_bytes_max,
            };
            Ok((peer, dispatch::encode(id, &Ok(answer))))
        }
        Err(refusal) => Err(Some(refused(id, refusal.code, &refusal.message))),
    }
}

/// Reads one request; a produce request is appended before this returns.
async fn request(
    shared: &Arc<Shared>,
    peer: &Peer,
    frames: &mut Frames<impl AsyncRead + Unpin>,
    length: u32,
    answers: &RequestRoom,
) -> Result<Turn, FrameEnd> {
    // Its room is given back when the request has been carried out.
    let mut room = shared.room.request();
    let is_drained = frames.is_drained();
    // A request that has not arrived when the broker ends is not accepted; one that is being appended is.
    let body = tokio::select! {
        biased;
        body = frames.body(length, &mut room) => body?,
        () = shared.broker.shutdown().wait() => return Err(FrameEnd::Closed),
    };
    let mut reader = Reader::new(body);
    let header = match dispatch::header(&mut reader) {
        Ok(header) => header,
        Err(refusal) => return Ok(Turn::Last(refused(0, refusal.code, &refusal.message))),
    };
    if dispatch::is_produce(header) {
        let start = reader.position();
        let result = dispatch::produce(shared, start, body, is_drained).await;
        return Ok(match result {
            Ok(pending) => {
                // The frame is done with, and its room is for others while this peer takes its time.
                frames.release(shared.kept_buffer_bytes());
                drop(room);
                let mut room = answers.request();
                // What was appended is answered also when the broker ends meanwhile.
                tokio::select! {
                    biased;
                    () = room.grow(pending.bytes()) => {}
                    () = shared.broker.shutdown().wait() => {}
                }
                Turn::Produce(header.correlation_id, pending, room)
            }
            Err(refusal) => Turn::Last(refused(
                header.correlation_id,
                refusal.code,
                &refusal.message,
            )),
        });
    }
    let id = header.correlation_id;
    Ok(match dispatch::work(shared, peer, header, &mut reader) {
        Ok(work) => {
            // Decoded it is larger than its frame. Until there is room for that it is one for each connection.
            let bytes = reader.values().saturating_mul(REQUEST_VALUE_BYTES);
            let bytes = bytes.saturating_add(reader.position());
            frames.release(shared.kept_buffer_bytes());
            tokio::select! {
                biased;
                () = room.grow(bytes) => {}
                () = shared.broker.shutdown().wait() => return Err(FrameEnd::Closed),
            }
            Turn::Request(work, room)
        }
        Err(refusal) if refusal.code == ErrorCode::MalformedRequest => {
            Turn::Last(refused(id, refusal.code, &refusal.message))
        }
        Err(refusal) => Turn::Answer(refused(id, refusal.code, &refusal.message)),
    })
}

async fn write(
    writing: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Turn>,
    wait_max: Duration,
) {
    let mut stream = BufWriter::with_capacity(WRITE_GATHER_BYTES, writing);
    loop {
        let turn = if let Ok(turn) = queue.try_recv() {
            turn
        } else {
            // Nothing more to gather: what is ready goes out before the wait.
            if !sent(wait_max, stream.flush()).await {
                return;
            }
            let Some(turn) = queue.recv().await else {
                return;
            };
            turn
        };
        let (parts, is_last) = match turn {
            Turn::Answer(parts) => (parts, false),
            Turn::Last(parts) => (parts, true),
            Turn::Produce(id, pending, _room) => {
                if !pending.is_ready() && !sent(wait_max, stream.flush()).await {
                    return;
                }
                (dispatch::encode(id, &Ok(pending.answer().await)), false)
            }
            Turn::Request(work, _room) => {
                if !sent(wait_max, stream.flush()).await {
                    return;
                }
                (work.await, false)
            }
        };
        // Piece by piece: a slow peer has its time for each of them.
        let mut rest = Parts::default();
        rest.extend(parts);
        while rest.has_remaining() {
            let mut piece = (&mut rest).take(WRITE_PIECE_BYTES);
            if !sent(wait_max, stream.write_all_buf(&mut piece)).await {
                return;
            }
        }
        if is_last {
            sent(wait_max, async {
                stream.flush().await?;
                stream.shutdown().await
            })
            .await;
            return;
        }
    }
}

/// Waits for a write, but not for ever. Returns whether it went through.
async fn sent(wait_max: Duration, write: impl Future<Output = std::io::Result<()>>) -> bool {
    matches!(tokio::time::timeout(wait_max, write).await, Ok(Ok(())))
}

fn refused(id: u32, code: ErrorCode, message: &str) -> Vec<Bytes> {
    dispatch::encode::<HandshakeAnswer>(id, &Err(Refusal::new(code, message)))
}
