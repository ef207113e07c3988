//! Scopes of tokens: the parts of the API that a token opens.

use std::fmt;

use serde::Deserialize;

/// Part of the API that a token opens. A wider scope includes the narrower ones, which come first here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Reads alerts, requests, deliveries, states and metrics.
    Read,
    /// Also acts on alerts, requests, deliveries, destinations and silences.
    Act,
    /// Also reloads, makes backups, and reads the audit.
    Admin,
}

impl Scope {
    /// All scopes, the narrowest first.
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Act, Self::Admin];

    /// Returns the name in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Act => "act",
            Self::Admin => "admin",
        }
    }

    /// Returns true if a token of this scope opens what needs another scope.
    pub(crate) fn includes(self, needed: Self) -> bool {
        self >= needed
    }

    /// Returns the names of the scopes that this one includes, in backticks.
    pub(crate) fn included_names(self) -> String {
        let included = Self::ALL.into_iter().filter(|scope| self.includes(*scope));
        let names: Vec<_> = included.map(|scope| format!("`{scope}`")).collect();
        names.join(", ")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_scope_includes_the_narrower_ones() {
        let includes = |scope: Scope| Scope::ALL.map(|needed| scope.includes(needed));
        assert_eq!(includes(Scope::Read), [true, false, false]);
        assert_eq!(includes(Scope::Act), [true, true, false]);
        assert_eq!(includes(Scope::Admin), [true, true, true]);
        assert_eq!(Scope::Act.included_names(), "`read`, `act`");
    }

    #[test]
    fn the_name_of_a_scope_is_the_word_in_the_configuration() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::from_value::<Scope>(scope.as_str().into()).unwrap(), scope);
        }
    }
}
