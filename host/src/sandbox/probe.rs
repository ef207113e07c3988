//! The probe of a host: loads a plugin in a child before the host maps it, and asks it for the schema
//! of its options. A plugin that hangs or crashes in one of the two does so in the child.
//!
//! The probe makes no instance and gives the plugin no options, which may be secret.

use std::time::Duration;

use super::{
    Death, Record, START_TIMEOUT, Sandbox, in_brackets,
    protocol::{Operation, Task},
    signal_name,
};
use crate::plugins::{
    admission::AdmittedPlugin,
    library::{Finding, Probe},
};

/// A [`Probe`] that runs each plugin in a [`Sandbox`].
#[derive(Debug)]
pub(crate) struct ChildProbe;

impl Probe for ChildProbe {
    fn try_out(&self, plugin: &AdmittedPlugin, timeout: Duration) -> Finding {
        let sandbox = Sandbox {
            library: plugin.path.clone(),
            sha256: Some(plugin.sha256.clone()),
            call_timeout: timeout,
            total_timeout: timeout.saturating_add(START_TIMEOUT),
        };
        finding(sandbox.run(Task::Load))
    }
}

fn finding(record: Record) -> Finding {
    match (record.death, record.at) {
        // A plugin that cannot be loaded or returns no usable schema is harmless: the host reports it.
        (None, _) => Finding::Harmless,
        (Some(death), Some((operation, _))) => Finding::Harmful {
            is_transient: is_from_outside(&death),
            what: sentence(&death, operation),
        },
        (Some(death), None) => Finding::NotTried(death.to_string()),
    }
}

/// Returns true if the child may have been ended from outside: by an operator, or by the kernel
/// because memory or disk space ran out.
fn is_from_outside(death: &Death) -> bool {
    let signals = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXFSZ];
    matches!(death, Death::Signal(signal, _) if signals.contains(signal))
}

/// Returns the end of a sentence that starts with the plugin.
fn sentence(death: &Death, operation: Operation) -> String {
    let is_schema = operation == Operation::Schema;
    match death {
        Death::Hung(timeout) if is_schema => {
            format!("did not give its schema within {timeout:?}")
        }
        Death::Hung(timeout) => {
            format!("did not finish loading within {timeout:?}")
        }
        Death::Signal(signal, line) => {
            let signal = signal_name(*signal);
            let asked = if is_schema { "asked for its schema" } else { "loaded it" };
            format!("killed the process that {asked}: {signal}{}", in_brackets(line))
        }
        other if is_schema => format!("{other} when asked for its schema"),
        other => format!("{other} while it was loaded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(at: Option<Operation>, death: Death) -> Finding {
        finding(Record { observations: Vec::new(), at: at.map(|at| (at, 0)), death: Some(death) })
    }

    fn harmful(death: Death) -> (String, bool) {
        match of(Some(Operation::Load), death) {
            Finding::Harmful { what, is_transient } => (what, is_transient),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_in_one_sentence_how_loading_failed() {
        let told = |death| harmful(death).0;
        insta::assert_snapshot!(told(Death::Hung(Duration::from_secs(5))), @"did not finish loading within 5s");
        insta::assert_snapshot!(told(Death::Signal(6, String::new())), @"killed the process that loaded it: SIGABRT");
        insta::assert_snapshot!(told(Death::Signal(11, "so long".into())), @"killed the process that loaded it: SIGSEGV (so long)");
        insta::assert_snapshot!(told(Death::Exited(3, String::new())), @"ended its process with exit code 3 while it was loaded");
    }

    #[test]
    fn says_in_one_sentence_how_asking_for_the_schema_failed() {
        let told = |death| match of(Some(Operation::Schema), death) {
            Finding::Harmful { what, .. } => what,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(told(Death::Hung(Duration::from_secs(5))), @"did not give its schema within 5s");
        insta::assert_snapshot!(told(Death::Signal(6, String::new())), @"killed the process that asked for its schema: SIGABRT");
        insta::assert_snapshot!(told(Death::Exited(3, String::new())), @"ended its process with exit code 3 when asked for its schema");
    }

    #[test]
    fn a_child_that_may_have_been_killed_from_outside_can_be_tried_again() {
        assert!(harmful(Death::Signal(libc::SIGKILL, String::new())).1);
        assert!(!harmful(Death::Signal(libc::SIGABRT, String::new())).1);
        assert!(!harmful(Death::Hung(Duration::from_secs(5))).1);
    }

    #[test]
    fn a_child_that_failed_before_loading_the_plugin_says_nothing_about_the_plugin() {
        for death in [
            Death::NotStarted("no memory".into()),
            Death::Exited(1, "error: no memory".into()),
            Death::InvalidOutput("a line of it is invalid".into()),
        ] {
            assert!(matches!(of(None, death), Finding::NotTried(_)));
        }
        assert!(matches!(finding(Record::default()), Finding::Harmless));
    }
}
