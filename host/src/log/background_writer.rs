//! Writes log lines on a thread of its own.
//!
//! A thread that logs never waits and never fails: if standard error is closed, full or slow, lines are
//! dropped and counted, and the count is logged once lines can be written again.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

/// Most lines that wait to be written.
const MOST_LINES: usize = 8192;
/// Most bytes that wait to be written.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Pause before another try if the descriptor is not ready.
const NOT_READY: Duration = Duration::from_millis(10);

/// Writer of log lines to a file, on a thread of its own. Clones share the thread.
#[derive(Clone, Debug)]
pub(super) struct BackgroundWriter {
    lines: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_lines: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// Number of lines that were dropped since the start.
    lost: AtomicU64,
    /// Number of dropped lines that the log does not report yet.
    unreported: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl BackgroundWriter {
    /// Starts the thread that writes to a file. `report_lost` logs the number of dropped lines.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub(super) fn start(file: File, report_lost: fn(u64)) -> io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel(MOST_LINES);
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".into());
        thread.spawn(move || serve(&waiting, file, &of_thread, report_lost))?;
        Ok(Self { lines, shared })
    }

    /// Queues a line, or drops it if the queue is full.
    fn send(&self, line: &[u8]) {
        let shared = &self.shared;
        let bytes = shared.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        shared.waiting_lines.fetch_add(1, Ordering::Relaxed);
        if bytes + line.len() > MOST_BYTES || self.lines.try_send(line.to_vec()).is_err() {
            shared.has_left(line.len());
            shared.lose("lines come faster than they are read");
            OWN_LINE_LOST.set(true);
        }
    }

    /// Returns the number of lines that were dropped since the start.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Returns the reason why lines are dropped now, or `None` if they are written.
    pub(super) fn problem(&self) -> Option<String> {
        self.shared.problem().clone()
    }

    /// Waits until every line is written or dropped, but no longer than the timeout.
    pub(super) fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        while self.shared.waiting_lines.load(Ordering::Acquire) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

thread_local! {
    /// True if a line of this thread was dropped.
    static OWN_LINE_LOST: Cell<bool> = const { Cell::new(false) };
}

/// Each write is one line.
impl Write for &BackgroundWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn has_left(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting_lines.fetch_sub(1, Ordering::Release);
    }

    fn lose(&self, why: &str) {
        // The problem first: the thread clears it once it has reported `unreported` lines.
        let mut problem = self.problem();
        if problem.as_deref() != Some(why) {
            *problem = Some(why.to_owned());
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.unreported.fetch_add(1, Ordering::Relaxed);
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(waiting: &Receiver<Vec<u8>>, mut file: File, shared: &Shared, report_lost: fn(u64)) {
    while let Ok(line) = waiting.recv() {
        match write(&mut file, &line) {
            Ok(()) => {
                let lost = {
                    let mut problem = shared.problem();
                    let lost = shared.unreported.swap(0, Ordering::Relaxed);
                    *problem = problem.take().filter(|_| lost == 0);
                    lost
                };
                if lost > 0 {
                    OWN_LINE_LOST.set(false);
                    report_lost(lost);
                    if OWN_LINE_LOST.get() {
                        shared.unreported.fetch_add(lost, Ordering::Relaxed);
                    }
                }
            }
            Err(error) => shared.lose(&error.to_string()),
        }
        shared.has_left(line.len());
    }
}

fn write(file: &mut File, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process may have made the shared descriptor non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(NOT_READY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd};

    use super::*;

    static REPORTED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

    fn pipe() -> (File, File) {
        let (reader, writer) = io::pipe().expect("a pipe");
        (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
    }

    fn line(mut writer: &BackgroundWriter, text: &str) {
        writer.write_all(text.as_bytes()).expect("logging never fails");
    }

    #[test]
    fn lines_that_cannot_be_written_are_dropped_and_reported_afterwards() {
        let (mut reader, writer) = pipe();
        let writer = BackgroundWriter::start(writer, |lost| REPORTED.lock().unwrap().push(lost))
            .expect("a thread");
        let long = "x".repeat(1000);
        for _ in 0..20_000 {
            line(&writer, &long);
        }
        assert!(writer.lost() > 5000, "{}", writer.lost());
        assert!(writer.shared.waiting_bytes.load(Ordering::Relaxed) <= MOST_BYTES);
        assert!(
            writer.problem().is_some_and(|problem| problem.contains("faster than they are read"))
        );
        let drain = thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while !matches!(reader.read(&mut bytes), Ok(0) | Err(_)) {}
        });
        let lost = writer.lost();
        writer.flush(Duration::from_secs(60));
        line(&writer, "written");
        writer.flush(Duration::from_secs(60));
        assert_eq!(writer.problem(), None);
        assert_eq!(
            REPORTED.lock().unwrap().iter().sum::<u64>(),
            lost,
            "every dropped line is reported once"
        );
        drop(writer);
        drain.join().expect("it ends with the writer");
    }

    #[test]
    fn a_file_that_refuses_writes_blocks_no_thread_that_logs() {
        let closed = pipe().1;
        for file in [closed, File::options().write(true).open("/dev/full").expect("Linux")] {
            let writer = BackgroundWriter::start(file, |_| {}).expect("a thread");
            (0..100).for_each(|_| line(&writer, "a line\n"));
            writer.flush(Duration::from_secs(60));
            assert_eq!(writer.lost(), 100);
            assert!(writer.problem().is_some());
        }
    }
}
