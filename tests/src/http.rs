//! HTTP client that sends exactly the bytes it is given over one connection, and reads the answer.
//! The client follows no redirect, retries nothing and changes no byte, so that tests can send what
//! misbehaving clients send.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::net::{self, AddressFamily, SocketType};
use serde_json::Value;

use crate::wait::TIMEOUT;

/// Connection to a host. Every read times out, so that a missing answer is an error and no test
/// hangs.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to an address, as [`Connection::open_from`] does without a choice of the sender's
    /// address.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect_timeout(&address, TIMEOUT)?)
    }

    /// Connects from an address of this machine, such as 127.0.0.2.
    ///
    /// # Errors
    ///
    /// If nothing listens there, or `from` is no address of this machine.
    pub fn open_from(from: SocketAddr, address: SocketAddr) -> io::Result<Self> {
        let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket(family, SocketType::STREAM, None)?;
        net::bind(&socket, &from)?;
        net::connect(&socket, &address)?;
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sets the timeout of [`Connection::send`].
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_write_timeout(Some(timeout))
    }

    /// Sets the timeout of [`Connection::answer`].
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(timeout))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the host has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Shuts down the sending side.
    ///
    /// # Errors
    ///
    /// If the connection is gone.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// Sends a [`Request`] and reads its [`Answer`].
    ///
    /// # Errors
    ///
    /// If the connection ended, or no answer came.
    pub fn ask(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let sent = self.send(&request.bytes());
        // A host may answer and close before it has read everything.
        self.answer().map_err(|error| sent.err().unwrap_or(error))
    }

    /// Reads one [`Answer`].
    ///
    /// # Errors
    ///
    /// If the connection ended in the middle of the answer, or nothing came.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(answer)
    }

    /// Reads everything until the host closes the connection.
    ///
    /// # Errors
    ///
    /// If the host does not close the connection, or resets it.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// HTTP request, with `Host`, `Content-Length` and no header that [`Request::header`] did not add.
#[derive(Clone, Debug)]
pub struct Request<'r> {
    method: &'r str,
    target: &'r str,
    host: String,
    headers: Vec<(String, String)>,
    body: &'r [u8],
}

impl<'r> Request<'r> {
    /// Returns a request without a body.
    pub fn new(method: &'r str, target: &'r str) -> Self {
        Self { method, target, host: "127.0.0.1".into(), headers: Vec::new(), body: &[] }
    }

    /// Returns a POST request.
    pub fn post(target: &'r str, body: &'r (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { body: body.as_ref(), ..Self::new("POST", target) }
    }

    /// Replaces the `Host`, which is `127.0.0.1` otherwise.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { host: host.into(), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns the bytes of the request, for [`Connection::send`].
    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, target, host, headers, body } = self;
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Complete HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code, such as 200.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Answer {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the `X-Request-Id`, which every answer carries.
    ///
    /// # Panics
    ///
    /// If the header is missing.
    #[track_caller]
    pub fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no X-Request-Id: {self:?}"))
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    ///
    /// If the body is no JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Returns the error code of a refusal, after checking its form.
    ///
    /// # Panics
    ///
    /// If the body has another form.
    #[track_caller]
    pub fn error_code(&self) -> String {
        self.request_id();
        let json = self.json();
        let (code, message) = (json["error"]["code"].as_str(), json["error"]["message"].as_str());
        assert!(message.is_some_and(|message| !message.is_empty()), "no message: {self:?}");
        assert!(json.get("text").is_none(), "Slack would post it: {self:?}");
        code.unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }

    /// Returns the seconds in `Retry-After`.
    ///
    /// # Panics
    ///
    /// If the header is missing or no number.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        let seconds = self.header("retry-after").and_then(|seconds| seconds.parse().ok());
        seconds.unwrap_or_else(|| panic!("no Retry-After: {self:?}"))
    }
}
