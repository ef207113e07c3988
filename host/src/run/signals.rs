//! Signals of the operating system: SIGTERM and SIGINT stop the host, SIGHUP reloads it.

use std::{io, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::announce;
use crate::{
    alert::Actor,
    host::{Host, reloads::ReloadReason},
    http::server::Stopper,
};

/// SIGXFSZ of every Linux but MIPS, for a process that writes beyond its limit on file sizes.
const SIGXFSZ: i32 = 25;

/// Handlers of signals. Signals that arrive before [`handle`](Self::handle) are kept for it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// If the system refuses one.
    pub(super) fn listen() -> io::Result<Self> {
        // With a handler, reaching the limit on file sizes is an error like a full disk. Without one,
        // SIGXFSZ would kill the process.
        let _ = signal(SignalKind::from_raw(SIGXFSZ))?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Acts on signals for as long as the runtime runs.
    pub(super) async fn handle(mut self, host: Arc<Host>, stopper: Stopper) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => stopper.stop(),
                _ = self.interrupt.recv() => stopper.stop(),
                _ = self.hangup.recv() => {
                    let host = Arc::clone(&host);
                    // Loading plugins takes time; further signals are handled meanwhile.
                    tokio::task::spawn_blocking(move || reload(&host));
                }
            }
        }
    }
}

fn reload(host: &Host) {
    let reloaded = host.reload(ReloadReason::Requested);
    host.audit_reload(Actor::Signal, &reloaded);
    match reloaded {
        Ok(changes) => {
            tracing::info!(
                event = "reload_completed",
                changes = changes.len(),
                "configuration and plugins were read again",
            );
            for change in &changes {
                tracing::info!(event = "change_applied", %change, "reloaded");
            }
            announce(host);
        }
        Err(problem) => {
            tracing::error!(
                event = "reload_refused",
                problem,
                "the reload failed and nothing was changed",
            );
        }
    }
}
