//! Rules on the addresses that one destination may be at.
//!
//! The rules are pure: nothing is resolved or dialled here.

use std::{fmt, net::IpAddr};

use crate::{http::sender::Network, outbound::address::not_public, problem::Problem};

/// Code of the [`Problem`] for an address that the rules refuse.
pub(super) const FORBIDDEN_ADDRESS: &str = "forbidden-address";

/// Code of the [`Problem`] for `http` without TLS that the rules refuse.
pub(super) const FORBIDDEN_HTTP: &str = "forbidden-http";

/// Rules on the addresses that one destination may be at. Public addresses are allowed with `https`.
#[derive(Clone, Debug)]
pub(crate) struct NetworkRules {
    /// Networks that are allowed though they are not public.
    pub allow_networks: Vec<Network>,
    /// Allows `http` without TLS to addresses in `allow_networks`.
    pub allow_http: bool,
    /// Name of the section in the configuration, for hints, such as `destinations.ops-channel`.
    pub section: String,
}

/// The rule that allowed an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The address is public.
    Public,
    /// `allow_networks` names this network.
    Network(Network),
    /// Only the proxy can resolve the name, so that its address is not known here.
    ResolvedByProxy,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public address"),
            Self::Network(network) => write!(f, "`{network}` in `allow_networks`"),
            Self::ResolvedByProxy => f.write_str("name that the proxy resolves"),
        }
    }
}

impl NetworkRules {
    /// Returns rules that allow every address, with `http` as well: for a receiver that the configuration
    /// itself names.
    pub(crate) fn none(section: &str) -> Self {
        let allow_networks = ["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok());
        Self { allow_networks: allow_networks.collect(), allow_http: true, section: section.into() }
    }

    /// Returns the [`Rule`] that allows an address with `https`.
    ///
    /// # Errors
    ///
    /// The address is not public, and `allow_networks` does not name it. The hint is the line of
    /// configuration that would allow it.
    #[cfg(test)]
    pub(crate) fn judge(&self, address: IpAddr) -> Result<Rule, Problem> {
        self.judge_host(address, None)
    }

    /// Returns the [`Rule`] that allows an address, and names the host in the refusal.
    pub(super) fn judge_host(&self, address: IpAddr, host: Option<&str>) -> Result<Rule, Problem> {
        if let Some(network) = self.network_of(address) {
            return Ok(Rule::Network(network));
        }
        let Some(meaning) = not_public(address) else { return Ok(Rule::Public) };
        let subject = match host {
            Some(host) => format!("`{host}` resolves to `{address}`, which is"),
            None => format!("`{address}` is"),
        };
        let message = format!("{subject} {meaning} that `allow_networks` does not name");
        Err(Problem::new(FORBIDDEN_ADDRESS, message).with_hint(self.line_that_allows(address)))
    }

    /// Returns the [`Rule`] that allows an address with `http`: only `allow_networks` does.
    pub(super) fn judge_plain(&self, address: IpAddr, host: Option<&str>) -> Result<Rule, Problem> {
        match self.judge_host(address, host)? {
            Rule::Public => {
                let message = format!(
                    "`http` without TLS to `{address}` is forbidden, since `allow_networks` does not \
                     name the address"
                );
                let line = self.line_that_allows(address);
                Err(Problem::new(FORBIDDEN_HTTP, message)
                    .with_hint(format!("use `https`, or {line}")))
            }
            rule => Ok(rule),
        }
    }

    /// Refuses `http` if the destination does not allow it at all.
    pub(super) fn judge_http(&self) -> Result<(), Problem> {
        if self.allow_http {
            return Ok(());
        }
        let hint = format!(
            "use `https`, or set `allow_http = true` in `[{}]` and name the receiver's address in \
             `allow_networks`",
            self.section
        );
        Err(Problem::new(FORBIDDEN_HTTP, "`http` without TLS is forbidden").with_hint(hint))
    }

    fn network_of(&self, address: IpAddr) -> Option<Network> {
        let canonical = address.to_canonical();
        let mut networks = self.allow_networks.iter().copied();
        networks.find(|network| network.contains(address) || network.contains(canonical))
    }

    fn line_that_allows(&self, address: IpAddr) -> String {
        let present = self.allow_networks.iter().map(ToString::to_string);
        let networks: Vec<_> = present.chain([address.to_canonical().to_string()]).collect();
        format!("set `allow_networks = {networks:?}` in `[{}]`", self.section)
    }
}
