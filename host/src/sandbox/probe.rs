//! Loads a plugin in a child of the host before the host maps it, and asks it for the schema of its
//! options: a plugin that hangs or dies of one of the two does so there.
//!
//! It makes no instance, and hands the plugin no options: they may be secret.

use std::time::Duration;

use super::{Death, Doing, Record, Sandbox, TIME_TO_START, Task, in_brackets, signal_name};
use crate::plugins::{
    admission::AdmittedPlugin,
    library::{Finding, Probe},
};

/// The probe of a host.
#[derive(Debug)]
pub struct ChildProbe;

impl Probe for ChildProbe {
    fn try_out(&self, plugin: &AdmittedPlugin, patience: Duration) -> Finding {
        let trial = Sandbox {
            library: plugin.path.clone(),
            sha256: Some(plugin.sha256.clone()),
            patience,
            limit: patience.saturating_add(TIME_TO_START),
        };
        finding(trial.run(Task::Load))
    }
}

fn finding(record: Record) -> Finding {
    match (record.death, record.at) {
        // A plugin that can't be loaded or gives no usable schema does no harm: the host says so itself.
        (None, _) => Finding::Harmless,
        (Some(death), Some((doing, _))) => Finding::Harmful {
            is_transient: is_from_outside(&death),
            what: sentence(&death, doing),
        },
        (Some(death), None) => Finding::NotTried(death.to_string()),
    }
}

/// Whether somebody else may have ended the child: whoever runs the host, or the kernel for want of
/// memory or of room for a file.
fn is_from_outside(death: &Death) -> bool {
    let signals = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXFSZ];
    matches!(death, Death::Signal(signal, _) if signals.contains(signal))
}

/// The end of a sentence that starts with the plugin.
fn sentence(death: &Death, doing: Doing) -> String {
    let is_schema = doing == Doing::Schema;
    match death {
        Death::Hung(patience) if is_schema => {
            format!("did not give its schema within {patience:?}")
        }
        Death::Hung(patience) => {
            format!("did not come back from being loaded within {patience:?}")
        }
        Death::Signal(signal, words) => {
            let signal = signal_name(*signal);
            let asked = if is_schema { "asked for its schema" } else { "loaded it" };
            format!("killed the process that {asked}: {signal}{}", in_brackets(words))
        }
        other if is_schema => format!("{other}, asked for its schema"),
        other => format!("{other}, being loaded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(at: Option<Doing>, death: Death) -> Finding {
        finding(Record { said: Vec::new(), at: at.map(|at| (at, 0)), death: Some(death) })
    }

    fn harmful(death: Death) -> (String, bool) {
        match of(Some(Doing::Load), death) {
            Finding::Harmful { what, is_transient } => (what, is_transient),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_it_did_on_trial_is_told_in_one_sentence() {
        let told = |death| harmful(death).0;
        insta::assert_snapshot!(told(Death::Hung(Duration::from_secs(5))), @"did not come back from being loaded within 5s");
        insta::assert_snapshot!(told(Death::Signal(6, String::new())), @"killed the process that loaded it: SIGABRT");
        insta::assert_snapshot!(told(Death::Signal(11, "so long".into())), @"killed the process that loaded it: SIGSEGV (so long)");
        insta::assert_snapshot!(told(Death::Exited(3, String::new())), @"ended its process with exit code 3, being loaded");
    }

    #[test]
    fn what_it_did_when_asked_for_its_schema_is_told_in_one_sentence() {
        let told = |death| match of(Some(Doing::Schema), death) {
            Finding::Harmful { what, .. } => what,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(told(Death::Hung(Duration::from_secs(5))), @"did not give its schema within 5s");
        insta::assert_snapshot!(told(Death::Signal(6, String::new())), @"killed the process that asked for its schema: SIGABRT");
        insta::assert_snapshot!(told(Death::Exited(3, String::new())), @"ended its process with exit code 3, asked for its schema");
    }

    #[test]
    fn a_child_that_somebody_else_may_have_killed_says_nothing_for_good() {
        assert!(harmful(Death::Signal(libc::SIGKILL, String::new())).1);
        assert!(!harmful(Death::Signal(libc::SIGABRT, String::new())).1);
        assert!(!harmful(Death::Hung(Duration::from_secs(5))).1);
    }

    #[test]
    fn a_child_that_did_not_come_to_the_plugin_says_nothing_of_it() {
        for death in [
            Death::NotStarted("no memory".into()),
            Death::Exited(1, "error: no memory".into()),
            Death::Nonsense("its words make no sense".into()),
        ] {
            assert!(matches!(of(None, death), Finding::NotTried(_)));
        }
        assert!(matches!(finding(Record::default()), Finding::Harmless));
    }
}
