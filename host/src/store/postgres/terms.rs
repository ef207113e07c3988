//! Terms in which this host holds duties.

use std::collections::BTreeMap;

use crate::store::duties::{Duty, Term};

/// The [`Term`]s in which this host holds duties, at one time.
#[derive(Clone, Default)]
pub(super) struct Terms(BTreeMap<Duty, Term>);

impl Terms {
    /// Notes the [`Term`] in which this host holds a duty.
    pub(super) fn hold(&mut self, duty: Duty, term: Term) {
        self.0.insert(duty, term);
    }

    /// Notes that this host does not hold a [`Duty`].
    pub(super) fn lose(&mut self, duty: &Duty) {
        self.0.remove(duty);
    }

    /// Returns the [`Term`] in which this host holds a duty; none if it does not hold it.
    pub(super) fn of(&self, duty: &Duty) -> Option<Term> {
        self.0.get(duty).copied()
    }
}
