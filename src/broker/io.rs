//! One client's socket with its two buffers. Buffers exist only while they hold something, so that
//! an idle connection costs next to nothing. Reading and writing never wait; only `ready` does.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// What is asked of the system at once; grows when a client has more to say.
const READ_SMALL: usize = 4 * 1024;
const READ_LARGE: usize = 64 * 1024;

/// Beyond this much unsent output nothing more is taken in or rendered.
pub(super) const OUTPUT_MAX: usize = 64 * 1024;

/// How long what a refused client still sends is read and thrown away, so that the system does not
/// answer it with a reset that would overtake our last packet.
const LINGER: Duration = Duration::from_millis(500);

/// A socket and its buffers.
#[derive(Debug)]
pub(super) struct Io {
    stream: TcpStream,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    busy: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), busy: false }
    }

    /// Whether so much waits to be written that nothing may be added.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= OUTPUT_MAX
    }

    /// Waits until the socket can be read (if asked for) or written (if there is output). Safe to
    /// drop: it only waits.
    pub(super) async fn ready(&self, read: bool) -> io::Result<()> {
        let interest = match (read, self.output.is_empty()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
            (false, true) => return std::future::pending().await,
        };
        self.stream.ready(interest).await.map(|_| ())
    }

    /// Reads what is there. `Ok(false)`: the client has closed its side.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let room = if self.busy { READ_LARGE } else { READ_SMALL };
        self.input.reserve(room);
        // Unlike `try_read` this notes where a short read shows that nothing is left, and the next
        // one does not ask the system in vain.
        let mut context = Context::from_waker(Waker::noop());
        let reading = pin!(self.stream.read_buf(&mut self.input)).poll(&mut context);
        match reading {
            Poll::Ready(Ok(0)) => Ok(false),
            Poll::Ready(Ok(count)) => {
                self.busy = count >= READ_SMALL;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.rest();
                Ok(true)
            }
        }
    }

    /// Writes what the socket takes. `Ok(true)`: it took something, or there was nothing.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        if self.output.is_empty() {
            return Ok(true);
        }
        match self.stream.try_write(&self.output) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.output.advance(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives empty buffers back.
    pub(super) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }

    /// Writes all output, however long the socket takes.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.output).await
    }

    /// Ends our side and, for a moment, reads what the client has under way.
    pub(super) async fn close(mut self) {
        self.input = BytesMut::new();
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            while self.stream.readable().await.is_ok() {
                self.input.clear();
                if !matches!(self.read(), Ok(true)) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}
