//! A proxy between a host and the socket of a PostgreSQL server, which cuts connections at chosen moments.
//!
//! The proxy reads the messages of the protocol, as the documentation of PostgreSQL describes them: a type, a length
//! and a body; only the first message of a connection has no type.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    net::Shutdown,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::store::Database;

/// Moment at which a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The client has sent `COMMIT`, and the server does not get it.
    BeforeCommit,
    /// The server has committed, and the client does not get the answer.
    AfterCommit,
}

/// A proxy in this process. It ends when the value is dropped.
#[derive(Debug)]
pub struct Proxy {
    folder: TempDir,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The next cut, for the transaction in which the text occurs.
    next: Option<(Cut, Vec<u8>)>,
    /// Connections that were cut so far by [`State::next`].
    cuts: usize,
    /// True if new connections are cut from after the next cut on.
    refuses_afterwards: bool,
    /// True if new connections are cut at once.
    refuses: bool,
    /// True if nothing is passed on, in either direction.
    is_silent: bool,
    connections: Vec<UnixStream>,
}

/// Name of the socket of a server with the usual port.
const SOCKET: &str = ".s.PGSQL.5432";

impl Proxy {
    /// Starts a proxy before the server of a database.
    ///
    /// # Panics
    ///
    /// If the socket cannot be made.
    pub fn before(database: &Database) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("it is ours");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let shared = Arc::new(Shared {
            server: database.server().socket().join(SOCKET),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                of_thread.take(stream);
            }
        });
        Self { folder, shared }
    }

    /// Returns the folder of the socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Cuts the connection of the next transaction in which this text is sent.
    pub fn cut(&self, cut: Cut, text: &str) {
        self.shared.state().next = Some((cut, text.into()));
    }

    /// Does the same as [`Proxy::cut`]. From then on all connections are cut, until [`Proxy::accept`] is called.
    pub fn cut_and_refuse(&self, cut: Cut, text: &str) {
        let mut state = self.shared.state();
        state.next = Some((cut, text.into()));
        state.refuses_afterwards = true;
    }

    /// Cuts all connections, and new ones, until [`Proxy::accept`] is called.
    pub fn refuse(&self) {
        self.shared.state().refuse();
    }

    /// Serves new connections again.
    pub fn accept(&self) {
        self.shared.state().refuses = false;
    }

    /// Counts the connections that were cut by [`Proxy::cut`].
    pub fn cuts(&self) -> usize {
        self.shared.state().cuts
    }

    /// Passes nothing on, or everything again. Connections stay open.
    pub fn be_silent(&self, is_silent: bool) {
        self.shared.state().is_silent = is_silent;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.be_silent(false);
        self.refuse();
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(self.folder.path().join(SOCKET));
    }
}

impl State {
    fn refuse(&mut self) {
        self.refuses = true;
        for connection in self.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection by a thread for each direction.
    fn take(self: &Arc<Self>, client: UnixStream) {
        let Ok(server) = UnixStream::connect(&self.server) else { return };
        let Ok([client_too, server_too]) = both(&client, &server) else { return };
        {
            let mut state = self.state();
            if state.refuses {
                return;
            }
            state.connections.extend(both(&client, &server).into_iter().flatten());
        }
        let is_cut = Arc::<AtomicBool>::default();
        let (of_answers, shared) = (Arc::clone(&is_cut), Arc::clone(self));
        thread::spawn(move || {
            let _ = shared.pass_answers(&server_too, &client_too, &of_answers);
            close(&server_too, &client_too);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.pass_messages(&client, &server, &is_cut);
            // The server may still have to commit before it sees the end.
            if !is_cut.load(Ordering::Acquire) {
                close(&client, &server);
            }
        });
    }

    /// Passes messages of the client on, and cuts at a `COMMIT`.
    fn pass_messages(
        &self,
        client: &UnixStream,
        mut server: &UnixStream,
        is_cut: &AtomicBool,
    ) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let mut message = Vec::new();
        read(&mut client, &mut message, false)?;
        let mut transaction = Vec::new();
        loop {
            self.wait_while_silent();
            if is_commit(&message) {
                match self.cut_of(&transaction) {
                    None => {}
                    Some(Cut::BeforeCommit) => {
                        self.count_cut();
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    Some(Cut::AfterCommit) => is_cut.store(true, Ordering::Release),
                }
                transaction.clear();
            } else {
                transaction.extend_from_slice(&message);
            }
            server.write_all(&message)?;
            read(&mut client, &mut message, true)?;
        }
    }

    /// Passes answers of the server on, until the answer to the `COMMIT` at which the connection is cut.
    fn pass_answers(
        &self,
        server: &UnixStream,
        mut client: &UnixStream,
        is_cut: &AtomicBool,
    ) -> io::Result<()> {
        let mut server = BufReader::new(server);
        let mut message = Vec::new();
        loop {
            read(&mut server, &mut message, true)?;
            self.wait_while_silent();
            if is_cut.load(Ordering::Acquire)
                && message.starts_with(b"C")
                && holds(&message, b"COMMIT")
            {
                self.count_cut();
                return Ok(());
            }
            client.write_all(&message)?;
        }
    }

    /// Returns the cut for a transaction with this text, once.
    fn cut_of(&self, transaction: &[u8]) -> Option<Cut> {
        let mut state = self.state();
        let is_meant = state.next.as_ref().is_some_and(|(_, text)| holds(transaction, text));
        if is_meant { state.next.take().map(|(cut, _)| cut) } else { None }
    }

    fn count_cut(&self) {
        let mut state = self.state();
        state.cuts += 1;
        if std::mem::take(&mut state.refuses_afterwards) {
            state.refuse();
        }
    }

    fn wait_while_silent(&self) {
        let mut state = self.state();
        while state.is_silent {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn both(one: &UnixStream, other: &UnixStream) -> io::Result<[UnixStream; 2]> {
    Ok([one.try_clone()?, other.try_clone()?])
}

fn close(one: &UnixStream, other: &UnixStream) {
    for stream in [one, other] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Reads a message, with its type if it has one.
fn read(from: &mut impl Read, message: &mut Vec<u8>, has_type: bool) -> io::Result<()> {
    let head = if has_type { 5 } else { 4 };
    message.resize(head, 0);
    from.read_exact(message)?;
    let length = message[head - 4..].try_into().map(u32::from_be_bytes).expect("4 bytes");
    let length = (length as usize).checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..])
}

/// Returns true for a query or a statement that commits.
fn is_commit(message: &[u8]) -> bool {
    (message.starts_with(b"Q") || message.starts_with(b"P")) && holds(message, b"COMMIT")
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
