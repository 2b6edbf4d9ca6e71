//! Sockets: accepting, framing, keeping answers in order. The only place that knows tokio.
//!
//! One task per connection runs two loops that meet at a bounded queue:
//! ```text
//! socket ─► frame ─► memory reserved ─► request handled ─► [queue, in order] ─► answer awaited ─► socket
//! ```
//! A connection that does not take its answers fills its own queue and is read no further; no
//! other connection waits for it.

mod threads;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_env::Reservation;
use highwater_log::FileRange;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, error::Elapsed, interval, sleep, timeout};

use crate::broker::{Answer, Broker, Handled, Parked, TICK};
use crate::listener::Listener;
use crate::request::{Refusal, Request};
use crate::response::{Part, Response};
use crate::stats::add;

pub use threads::SocketThreads;

/// A connection's read buffer while it waits for a request.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// A frame beyond this is large: it waits until there is memory for all of it.
const LARGE_FRAME_BYTES: usize = 1 << 20;
/// A frame's buffer starts with at most this, so that a length alone costs nothing; once that much has
/// arrived, it gets its full size, so that nothing is copied as it grows.
const FIRST_BYTES: usize = 64 << 10;
/// A small frame's memory is reserved in steps of this, as its bytes arrive.
const READ_STEP_BYTES: usize = 256 << 10;
/// A connection is closed that sends a begun request more slowly, however steadily.
const FRAME_BYTES_PER_SECOND_MIN: usize = 1 << 20;
/// Parts handed to one vectored write.
const IO_SLICES_MAX: usize = 256;
/// Between two tries to append to a full log.
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// Between two tries to reserve memory for a frame.
const MEMORY_PAUSE: Duration = Duration::from_millis(10);
/// After a failed accept (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("frame of {len} bytes, expected 8..={max}")]
    FrameLength { len: i32, max: usize },
    #[error("closed in the middle of a request")]
    Cut,
    #[error("no progress within the time allowed")]
    Stalled(#[from] Elapsed),
    #[error("no memory for a frame of {len} bytes")]
    NoMemory { len: usize },
    #[error("handler failed: {0}")]
    Handler(#[from] JoinError),
}

/// Serves a listener's connections on `threads` until `shutdown` resolves; then requests already read are
/// answered, for at most [`BrokerOptions::shutdown_grace`](crate::BrokerOptions::shutdown_grace).
pub async fn serve(
    socket: TcpListener,
    listener: Arc<Listener>,
    broker: Arc<Broker>,
    threads: Arc<SocketThreads>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => broker.tick(),
            accepted = socket.accept() => match accepted {
                Ok((accepted, peer)) => {
                    if let Some(seat) = Seat::take(&broker, &listener, peer) {
                        connections.spawn_on(move_in(accepted, peer, seat, stopped.clone()), threads.next());
                    }
                }
                Err(error) => {
                    tracing::warn!("cannot accept a Kafka connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    stop.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(broker.options.shutdown_grace, all_ended).await.is_err() {
        tracing::warn!("{} Kafka connections did not end in time", connections.len());
        connections.shutdown().await;
    }
}

/// One open connection, counted, with memory for its read buffer.
struct Seat {
    broker: Arc<Broker>,
    listener: Arc<Listener>,
    _held: Reservation,
}

impl Seat {
    fn take(broker: &Arc<Broker>, listener: &Arc<Listener>, peer: SocketAddr) -> Option<Self> {
        let counters = &broker.counters;
        add(&counters.connections_total, 1);
        let free = counters.connections_open.load(Relaxed) < broker.options.connections_max as u64;
        let held = broker.budget.reserve(READ_BUFFER_BYTES as u64).ok().filter(|_| free);
        let Some(held) = held else {
            add(&counters.connections_refused, 1);
            tracing::warn!(%peer, "Kafka connection refused: too many are open, or memory is used up");
            return None;
        };
        add(&counters.connections_open, 1);
        Some(Self { broker: Arc::clone(broker), listener: Arc::clone(listener), _held: held })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.broker.counters.connections_open.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection on the runtime this runs on, to which its socket does not belong yet.
async fn move_in(socket: TcpStream, peer: SocketAddr, seat: Seat, stopped: watch::Receiver<bool>) {
    match socket.into_std().and_then(TcpStream::from_std) {
        Ok(socket) => connection(socket, peer, seat, stopped).await,
        Err(error) => tracing::warn!(%peer, "cannot serve a Kafka connection: {error}"),
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, seat: Seat, stopped: watch::Receiver<bool>) {
    let broker = &seat.broker;
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, "cannot set TCP_NODELAY: {error}");
    }
    let (source, sink) = socket.into_split();
    let (queue, queued) = mpsc::channel(broker.options.requests_in_flight_max);
    let (hurry, hurried) = watch::channel(false);
    let mut reading = pin!(read_requests(source, peer.ip(), &seat, queue, stopped));
    let mut writing = pin!(write_answers(sink, broker, queued, hurried));
    let ended = tokio::select! {
        read = &mut reading => {
            // Nothing more is coming: what waits for records or for other clients ends.
            hurry.send_replace(true);
            let written = writing.await;
            read.and(written)
        }
        written = &mut writing => written,
    };
    match ended {
        Ok(()) => tracing::debug!(%peer, "Kafka connection closed"),
        Err(end @ (End::Io(_) | End::Cut | End::Stalled(_))) => {
            tracing::debug!(%peer, "Kafka connection ended: {end}");
        }
        Err(end) => {
            add(&broker.counters.refusals, 1);
            tracing::warn!(%peer, "Kafka connection closed: {end}");
        }
    }
}

async fn read_requests(
    mut socket: OwnedReadHalf,
    peer: IpAddr,
    Seat { broker, listener, .. }: &Seat,
    queue: mpsc::Sender<Handled>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), End> {
    let mut buffer = BytesMut::new();
    loop {
        let next = tokio::select! {
            () = seen(&mut stopped) => return Ok(()),
            next = next_frame(&mut socket, &mut buffer, broker) => next?,
        };
        let Some((frame, held)) = next else { return Ok(()) };
        let request = match broker.open(frame, listener) {
            Ok(request) => Request { peer: Some(peer), ..request },
            // What was asked before is answered before the connection closes.
            Err(refusal) => {
                let _ = queue.send(Handled::Answered(Answer::Close(refusal))).await;
                return Ok(());
            }
        };
        let mut handled = if request.may_block() {
            let broker = Arc::clone(broker);
            spawn_blocking(move || broker.answer(request)).await?
        } else {
            broker.answer(request)
        };
        if let Handled::Parked(parked) = &mut handled {
            wait_for_room(parked, broker).await;
        }
        // What waits for its answer has let go of its frame.
        drop(held);
        if queue.send(handled).await.is_err() {
            return Ok(());
        }
    }
}

async fn seen(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}

/// The next frame without its length field, or none at the end of the stream.
async fn next_frame(
    socket: &mut OwnedReadHalf,
    buffer: &mut BytesMut,
    broker: &Broker,
) -> Result<Option<(Bytes, Reservation)>, End> {
    const LENGTH_BYTES: usize = 4;
    const HEADER_BYTES_MIN: usize = 8;
    let options = &broker.options;
    while buffer.len() < LENGTH_BYTES {
        buffer.reserve(READ_BUFFER_BYTES / 2);
        let patience = if buffer.is_empty() { options.idle_max } else { options.stall_max };
        let read = timeout(patience, socket.read_buf(buffer)).await??;
        if read == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(End::Cut) };
        }
    }
    let claimed = buffer.get_i32();
    let len = usize::try_from(claimed)
        .ok()
        .filter(|len| (HEADER_BYTES_MIN..=options.frame_bytes_max).contains(len))
        .ok_or(End::FrameLength { len: claimed, max: options.frame_bytes_max })?;
    let slowest = options.stall_max + Duration::from_secs((len / FRAME_BYTES_PER_SECOND_MIN) as u64);
    let held = timeout(slowest, fill(socket, buffer, len, broker)).await??;
    let frame = buffer.split_to(len).freeze();
    if len > LARGE_FRAME_BYTES {
        // What is left would hold on to the large frame's memory for as long as the connection lasts.
        *buffer = BytesMut::from(&buffer[..]);
    }
    Ok(Some((frame, held)))
}

/// Reads on until `buffer` holds `len` bytes.
///
/// A large frame waits for all of its memory before it is read, so that several cannot stop each
/// other halfway, and takes it from a share of its own, so that small ones never wait for large ones.
/// A small frame's memory follows what has arrived: announcing it costs nothing.
async fn fill(
    socket: &mut OwnedReadHalf,
    buffer: &mut BytesMut,
    len: usize,
    broker: &Broker,
) -> Result<Reservation, End> {
    let large = len > LARGE_FRAME_BYTES;
    let share = if large { &broker.large_frames } else { &broker.budget };
    let no_memory = |_| End::NoMemory { len };
    let mut held = share.reserve(0).map_err(no_memory)?;
    hold(&mut held, if large { len } else { buffer.len().min(len) }, broker).await?;
    while buffer.len() < len {
        let missing = len - buffer.len();
        if buffer.capacity() == buffer.len() {
            buffer.reserve(if buffer.len() < FIRST_BYTES { missing.min(FIRST_BYTES) } else { missing });
        }
        let next = missing.min(READ_STEP_BYTES);
        if !large {
            hold(&mut held, buffer.len() + next, broker).await?;
        }
        let read = timeout(broker.options.stall_max, socket.read_buf(&mut buffer.limit(next))).await??;
        if read == 0 {
            return Err(End::Cut);
        }
    }
    Ok(held)
}

/// Grows a reservation. While there is no memory, the socket is not read.
async fn hold(held: &mut Reservation, bytes: usize, broker: &Broker) -> Result<(), End> {
    let waiting = async {
        while held.resize(bytes as u64).is_err() {
            sleep(MEMORY_PAUSE).await;
        }
    };
    timeout(broker.options.stall_max, waiting).await.map_err(|_| End::NoMemory { len: bytes })
}

async fn wait_for_room(parked: &mut Parked, broker: &Broker) {
    while parked.is_blocked() {
        if broker.clock.monotonic() >= parked.deadline() {
            parked.give_up();
            return;
        }
        sleep(ROOM_PAUSE).await;
        parked.retry();
    }
}

async fn write_answers(
    mut socket: OwnedWriteHalf,
    broker: &Arc<Broker>,
    mut queue: mpsc::Receiver<Handled>,
    mut hurry: watch::Receiver<bool>,
) -> Result<(), End> {
    while let Some(handled) = queue.recv().await {
        let answer = match handled {
            Handled::Answered(answer) => answer,
            Handled::Parked(parked) => settle(parked, broker, &mut hurry).await?,
        };
        match answer {
            Answer::Reply(response) => socket = send(socket, &response, broker).await?,
            Answer::Silent => {}
            Answer::Close(refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}

/// Waits until a parked request can, or must, be answered.
async fn settle(
    mut parked: Parked,
    broker: &Broker,
    hurry: &mut watch::Receiver<bool>,
) -> Result<Answer, End> {
    loop {
        if parked.read_memory() {
            parked = spawn_blocking(move || {
                parked.read();
                parked
            })
            .await?;
        }
        let left = parked.deadline().saturating_sub(broker.clock.monotonic());
        let hurriable = parked.ends_with_connection();
        let hurried = hurriable && *hurry.borrow();
        if parked.is_done() || left.is_zero() || hurried {
            return Ok(parked.finish());
        }
        tokio::select! {
            () = poll_fn(|context| parked.poll(context)) => {}
            () = sleep(left) => {}
            () = seen(hurry), if hurriable => {}
        }
    }
}

async fn send(
    mut socket: OwnedWriteHalf,
    response: &Response,
    broker: &Broker,
) -> Result<OwnedWriteHalf, End> {
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(response.parts().len());
    for part in response.parts() {
        match part {
            Part::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
            Part::File(range) => {
                send_slices(&mut socket, &mut slices, broker).await?;
                slices.clear();
                socket = send_file(socket, range.clone(), broker).await?;
            }
        }
    }
    send_slices(&mut socket, &mut slices, broker).await?;
    add(&broker.counters.bytes_out, response.wire_len());
    Ok(socket)
}

async fn send_slices(
    socket: &mut OwnedWriteHalf,
    mut rest: &mut [IoSlice<'_>],
    broker: &Broker,
) -> Result<(), End> {
    while !rest.is_empty() {
        let now = &rest[..rest.len().min(IO_SLICES_MAX)];
        let written = timeout(broker.options.stall_max, socket.write_vectored(now)).await??;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Sends from a file; off the socket threads if it may wait for the disk.
async fn send_file(
    mut socket: OwnedWriteHalf,
    mut range: FileRange,
    broker: &Broker,
) -> Result<OwnedWriteHalf, End> {
    while !range.is_empty() {
        timeout(broker.options.stall_max, socket.writable()).await??;
        let sent = if range.is_cached() {
            send_some(&socket, &mut range)
        } else {
            let sending = spawn_blocking(move || {
                let sent = send_some(&socket, &mut range);
                (socket, range, sent)
            });
            let sent;
            (socket, range, sent) = sending.await?;
            sent
        };
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            _ => {}
        }
    }
    Ok(socket)
}

fn send_some(socket: &OwnedWriteHalf, range: &mut FileRange) -> io::Result<usize> {
    let stream = socket.as_ref();
    stream.try_io(Interest::WRITABLE, || range.send(stream.as_fd()))
}
