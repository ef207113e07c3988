//! A server that gets what a host sends, and answers as well or as badly as a test wants.
//!
//! Each request is remembered before it is answered, as a real server may have acted on it by then.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::wait;

/// A request that arrived at a [`Receiver`].
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// Body, byte for byte.
    pub bytes: Vec<u8>,
    /// Time of arrival.
    pub at: Instant,
}

/// Answer of a [`Receiver`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status with an empty body.
    Status(u16),
    /// A status with headers and a body.
    Full(u16, Vec<(&'static str, String)>, String),
    /// Bytes that are sent unchanged. The connection is then closed.
    Raw(Vec<u8>),
    /// The connection is closed without an answer.
    Cut,
    /// No answer, on an open connection.
    Hang,
    /// The beginning of an answer, and then a byte at a time that never ends it.
    Trickle,
    /// A body without an end.
    Endless,
}

/// A server in this process. It ends when the value is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Answerer = Box<dyn Fn(usize, &Arrived) -> Reply + Send + Sync>;

struct Shared {
    arrived: Mutex<Vec<Arrived>>,
    answerer: Mutex<Arc<Answerer>>,
    is_over: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Arrived {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Receiver {
    /// Starts a server that answers as `answer` says. `answer` gets the number of requests before, and
    /// the request.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(answer: impl Fn(usize, &Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            arrived: Mutex::default(),
            answerer: Mutex::new(Arc::new(Box::new(answer))),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let of_connection = Arc::clone(&of_thread);
                // A peer that goes away is no concern of the server.
                thread::spawn(move || drop(of_connection.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// Starts a server that answers 200.
    pub fn good() -> Self {
        Self::start(|_, _| Reply::Status(200))
    }

    /// Changes the answers from now on.
    pub fn answer(&self, answer: impl Fn(usize, &Arrived) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.answerer) = Arc::new(Box::new(answer));
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a URL of the server with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the requests so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        lock(&self.shared.arrived).clone()
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.arrived).len()
    }

    /// Returns how often each message arrived, by its `idempotency-key`.
    pub fn times_by_id(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for arrived in lock(&self.shared.arrived).iter() {
            let id = arrived.header("idempotency-key").unwrap_or_default().to_owned();
            *times.entry(id).or_default() += 1;
        }
        times
    }

    /// Waits until this many requests have arrived, and returns them.
    ///
    /// # Panics
    ///
    /// If they do not arrive within [`wait::TIMEOUT`].
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Arrived> {
        wait::until(&format!("{count} requests arrive"), || {
            let arrived = lock(&self.shared.arrived);
            (arrived.len() >= count).then(|| arrived.clone())
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(arrived) = read(&mut reader)? {
            let (turn, answerer) = {
                let mut all = lock(&self.arrived);
                all.push(arrived.clone());
                (all.len() - 1, Arc::clone(&lock(&self.answerer)))
            };
            match answerer(turn, &arrived) {
                Reply::Status(status) => write(&mut writer, status, &[], "")?,
                Reply::Full(status, headers, body) => {
                    write(&mut writer, status, &headers, &body)?;
                }
                Reply::Raw(bytes) => {
                    writer.write_all(&bytes)?;
                    return writer.shutdown(Shutdown::Both);
                }
                Reply::Cut => return writer.shutdown(Shutdown::Both),
                Reply::Hang => self.until_over(|| Ok(()))?,
                Reply::Trickle => {
                    writer.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ")?;
                    self.until_over(|| writer.write_all(b"a"))?;
                }
                Reply::Endless => {
                    writer.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                    let block = [b'x'; 16 * 1024];
                    while !self.is_over.load(Ordering::Acquire) {
                        writer.write_all(&block)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Does something every few milliseconds until the server ends.
    fn until_over(&self, mut act: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        while !self.is_over.load(Ordering::Acquire) {
            act()?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Reads a request; none at the end of the connection.
fn read(reader: &mut impl BufRead) -> io::Result<Option<Arrived>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or_default();
        }
        headers.push((name, value));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(Arrived { path, headers, body, bytes, at: Instant::now() }))
}

fn write(
    writer: &mut impl Write,
    status: u16,
    headers: &[(&str, String)],
    body: &str,
) -> io::Result<()> {
    let mut answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    writer.write_all(format!("{answer}\r\n{body}").as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
