//! Latency at a steady rate: requests leave on schedule, whether or not earlier ones are answered.
//!
//! A request that has to wait for its turn counts from its scheduled time.

use std::{process::Command, time::Duration};

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::subject::{Subject, TOKEN};

pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The number of requests.
    pub(crate) requests: u64,
    /// Requests that were answered in a second.
    pub(crate) rate: f64,
}

pub(crate) const CONNECTIONS: u32 = 64;

pub(crate) fn run(subject: &Subject, rate: u32, lasts: Duration) -> anyhow::Result<Latency> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut latencies, took) = runtime.block_on(async {
        let start = Instant::now() + Duration::from_millis(100);
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|connection| tokio::spawn(send(subject.address, connection, rate, start, lasts)))
            .collect();
        let mut latencies = Vec::new();
        for connection in connections {
            latencies.extend(connection.await??);
        }
        anyhow::Ok((latencies, start.elapsed()))
    })?;
    ensure!(!latencies.is_empty(), "nothing was sent");
    latencies.sort();
    let at =
        |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
    let requests = latencies.len() as u64;
    let rate = requests as f64 / took.as_secs_f64();
    Ok(Latency { p50_ms: at(0.5), p99_ms: at(0.99), requests, rate })
}

/// Waits until all that earlier measurements have written is on disk, which would stall the syncs of this one,
/// and then does the same as [`run`].
pub(crate) fn run_on_a_quiet_disk(
    subject: &Subject,
    rate: u32,
    lasts: Duration,
) -> anyhow::Result<Latency> {
    Command::new("sync").status()?;
    run(subject, rate, lasts)
}

/// Sends one message, and returns the time of the answer 200.
pub(crate) fn send_one(
    address: std::net::SocketAddr,
    number: u64,
) -> anyhow::Result<std::time::Instant> {
    let mut stream = std::net::TcpStream::connect(address)?;
    std::io::Write::write_all(&mut stream, message(number).as_bytes())?;
    let mut answer = [0; 1024];
    let length = std::io::Read::read(&mut stream, &mut answer)?;
    let answered = std::time::Instant::now();
    let answer = String::from_utf8_lossy(&answer[..length]);
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answered)
}

/// Returns a request of Slack with its own message.
fn message(number: u64) -> String {
    let body = format!(
        "token={TOKEN}&team_id=T3R0C6ABC&team_domain=pagertree&service_id=398047594123\
         &channel_id=C014E5UMZ1S&channel_name=production&timestamp=1664813178.{number:06}\
         &user_id=U3QTH7ABC&user_name=austinrmiller1991&text=outage+check+servers+high&trigger_word=outage"
    );
    let head = format!(
        "POST /in/bench HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    head + &body
}

async fn send(
    address: std::net::SocketAddr,
    connection: u32,
    rate: u32,
    start: Instant,
    lasts: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let requests = (lasts.as_secs_f64() * f64::from(rate)) as u32 / CONNECTIONS;
    let mut latencies = Vec::with_capacity(requests as usize);
    let mut answer = [0; 1024];
    for round in 0..requests {
        let number = round * CONNECTIONS + connection;
        let due = start + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        tokio::time::sleep_until(due).await;
        stream.write_all(message(number.into()).as_bytes()).await?;
        // An answer is far smaller than a segment, so it arrives whole.
        let length = stream.read(&mut answer).await?;
        ensure!(
            answer[..length].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..length])
        );
        latencies.push(due.elapsed());
    }
    Ok(latencies)
}
