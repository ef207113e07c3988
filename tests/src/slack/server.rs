//! HTTP server of the stand-in: a thread for each connection, with limits on connections and bodies.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::wait::TIMEOUT;

/// Most connections at a time. Further ones are closed.
const CONNECTIONS: usize = 256;

/// Largest body. A larger one ends the connection.
const BODY_BYTES: usize = 1024 * 1024;

/// Longest line and most lines of a head.
const LINE_BYTES: u64 = 16 * 1024;
const LINES: usize = 100;

/// Request as it arrived.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Answer to a [`Request`].
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

type Handler = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// Running server. It answers each [`Request`] with an [`Answer`].
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<Open>>>,
    listener: Option<JoinHandle<()>>,
}

/// Open connection and its thread.
#[derive(Debug)]
struct Open {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a server on a free port of an address. If the [`Handler`] returns no answer, the connection is
    /// closed.
    pub(super) fn start(
        address: Ipv4Addr,
        handler: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (stop, open) = (Arc::clone(&stopped), Arc::clone(&connections));
        let handler: Arc<Handler> = Arc::new(handler);
        let accept = move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    serve(stream, &handler, &open);
                }
            }
        };
        let listener = thread::Builder::new().name("slack".into()).spawn(accept)?;
        Ok(Self { address, stopped, connections, listener: Some(listener) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // The connection wakes the listener.
        let woken = TcpStream::connect_timeout(&self.address, TIMEOUT).is_ok();
        if let Some(listener) = self.listener.take().filter(|_| woken) {
            listener.join().ok();
        }
        let open = std::mem::take(&mut *lock(&self.connections));
        for Open { stream, thread } in open {
            stream.shutdown(Shutdown::Both).ok();
            thread.join().ok();
        }
    }
}

fn lock(connections: &Mutex<Vec<Open>>) -> std::sync::MutexGuard<'_, Vec<Open>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a connection on a thread of its own, unless there are too many.
fn serve(stream: TcpStream, handler: &Arc<Handler>, connections: &Mutex<Vec<Open>>) {
    let mut open = lock(connections);
    open.retain(|connection| !connection.thread.is_finished());
    if open.len() >= CONNECTIONS {
        return;
    }
    let handler = Arc::clone(handler);
    let Ok(clone) = stream.try_clone() else { return };
    let run = move || {
        let shutdown = clone.try_clone();
        // A client may close its connection at any time.
        converse(clone, &*handler).ok();
        if let Ok(stream) = shutdown {
            stream.shutdown(Shutdown::Both).ok();
        }
    };
    if let Ok(thread) = thread::Builder::new().name("slack connection".into()).spawn(run) {
        open.push(Open { stream, thread });
    }
}

/// Answers the requests of a connection, one after the other.
fn converse(stream: TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let Some(answer) = handler(&request) else { return Ok(()) };
        write(reader.get_mut(), &answer)?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let mut request = Request { method: word(), target: word(), ..Request::default() };
    for _ in 0..LINES {
        let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
            let length = length.ok().filter(|length| *length <= BODY_BYTES);
            request.body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
            reader.read_exact(&mut request.body)?;
            return Ok(Some(request));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.take(LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix('\n').ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn write(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, headers, content_type, body } = answer;
    let mut text = format!("HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes())
}
