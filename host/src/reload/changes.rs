//! The differences between two configurations with their integrations and destinations, as a list of
//! [`ConfigChange`]: the plan before a reload and the report after it.
//!
//! Values that may be secrets are left out.

use std::net::SocketAddr;

use tocsin_plugin_api::Secret;

use crate::{
    config::{
        self, AdminToken, Config,
        change::{ConfigChange, ConfigChangeKind},
    },
    plugin_user::{
        PluginUser, PluginUsers,
        builder::{PluginUserPlan, PluginUserPlans},
        role::{PluginSection, Role},
    },
};

/// Returns the changes of integrations or destinations: those that are planned anew, and those that are
/// removed.
pub(super) fn of_users<R: Role<Section: SectionKeys>>(
    present: &PluginUsers<R>,
    wanted: &Config,
    plans: &PluginUserPlans<R>,
) -> Vec<ConfigChange> {
    let removed = present.sorted().into_iter().filter_map(|user| {
        let is_gone = !R::sections(wanted).contains_key(&*user.name);
        is_gone.then(|| change::<R>(&user.name, ConfigChangeKind::Removed, String::new()))
    });
    let others = plans.iter().map(|(name, planned)| match present.by_name.get(name.as_str()) {
        Some(user) => moved(user, planned),
        None => change::<R>(name, ConfigChangeKind::Added, standing(planned)),
    });
    removed.chain(others).collect()
}

fn change<R: Role>(name: &str, change: ConfigChangeKind, detail: String) -> ConfigChange {
    ConfigChange { key: format!("{}.{name}", R::TABLE), change, detail }
}

fn standing<R: Role>(planned: &PluginUserPlan<R>) -> String {
    match &planned.plugin {
        Some(plugin) => plugin.id.to_string(),
        None if planned.settings.section.is_enabled() => "no working plugin".into(),
        None => "disabled".into(),
    }
}

fn moved<R: Role<Section: SectionKeys>>(
    user: &PluginUser<R>,
    planned: &PluginUserPlan<R>,
) -> ConfigChange {
    let (old, new) = (&user.settings, &planned.settings);
    let mut details = changed_keys(&old.section, &new.section);
    if old.limits.deadline != new.limits.deadline {
        details.push("plugins.call_deadline".into());
    }
    if old.limits.slow != new.limits.slow {
        details.push("plugins.slow_call".into());
    }
    let is_enabled = new.section.is_enabled();
    let kind = if details.is_empty() { ConfigChangeKind::Moved } else { ConfigChangeKind::Changed };
    match (user.admitted(), &planned.plugin) {
        (Some(old), Some(new)) if old.id != new.id => {
            details.push(format!("from {} to {}", old.id, new.id));
        }
        (Some(old), Some(new)) if old.sha256 != new.sha256 => {
            details.push(format!("to other bytes of {}", new.id));
        }
        (Some(old), Some(_)) if kind == ConfigChangeKind::Moved => {
            details.push(format!("to a new instance of {}", old.id));
        }
        (None, Some(new)) => details.push(format!("to {}", new.id)),
        (Some(old), None) if is_enabled => details.push(format!("without {}", old.id)),
        (None, None) if is_enabled => details.push("still without a plugin".into()),
        _ => {}
    }
    change::<R>(&user.name, kind, details.join(", "))
}

/// Returns the keys of a section whose values differ, each option for itself.
fn changed_keys<S: SectionKeys>(old: &S, new: &S) -> Vec<String> {
    let keys = new.differing_keys(old).into_iter().map(str::to_owned);
    let (old, new) = (old.options(), new.options());
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    keys.chain(names.into_iter().filter(differs).map(|name| format!("options.{name}"))).collect()
}

/// A section of the configuration whose keys are compared one by one.
pub(super) trait SectionKeys: PluginSection {
    /// Returns the keys, except options, whose values differ.
    fn differing_keys(&self, old: &Self) -> Vec<&'static str>;
}

impl SectionKeys for config::IntegrationConfig {
    fn differing_keys(&self, old: &Self) -> Vec<&'static str> {
        // The pattern names every key, so that a new one cannot be forgotten here.
        let Self {
            plugin,
            version,
            enabled,
            urgency,
            title,
            description,
            maintenance,
            rate_limit,
            sender_rate_limit,
            resolve_after,
            options: _,
        } = self;
        differing([
            ("plugin", *plugin != old.plugin),
            ("version", *version != old.version),
            ("enabled", *enabled != old.enabled),
            ("urgency", *urgency != old.urgency),
            ("title", *title != old.title),
            ("description", *description != old.description),
            ("maintenance", *maintenance != old.maintenance),
            ("rate_limit", *rate_limit != old.rate_limit),
            ("sender_rate_limit", *sender_rate_limit != old.sender_rate_limit),
            ("resolve_after", *resolve_after != old.resolve_after),
        ])
    }
}

impl SectionKeys for config::DestinationConfig {
    fn differing_keys(&self, old: &Self) -> Vec<&'static str> {
        // The pattern names every key, so that a new one cannot be forgotten here.
        let Self {
            plugin,
            version,
            enabled,
            events,
            rate_limit,
            parallel,
            digest_above,
            allow_networks,
            allow_http,
            options: _,
        } = self;
        differing([
            ("plugin", *plugin != old.plugin),
            ("version", *version != old.version),
            ("enabled", *enabled != old.enabled),
            ("events", *events != old.events),
            ("rate_limit", *rate_limit != old.rate_limit),
            ("parallel", *parallel != old.parallel),
            ("digest_above", *digest_above != old.digest_above),
            ("allow_networks", *allow_networks != old.allow_networks),
            ("allow_http", *allow_http != old.allow_http),
        ])
    }
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Returns the changes of all settings except integrations and destinations.
pub(super) fn of_settings(old: &Config, new: &Config) -> Vec<ConfigChange> {
    // The pattern names every key, so that a new one cannot be forgotten here.
    let Config {
        server,
        admin,
        store,
        state_dir,
        plugins,
        requests,
        retention,
        watch,
        log,
        integrations: _,
        destinations: _,
        routes,
        delivery,
        tracing,
    } = new;
    let config::Server {
        listen,
        public_url,
        body_limit_bytes,
        header_limit_bytes,
        header_timeout,
        body_timeout,
        write_timeout,
        max_connections,
        max_connections_per_address,
        body_memory_bytes,
        max_wrong_tokens_per_minute,
        hide_integrations,
        shutdown_timeout,
        trusted_proxies,
        tls,
    } = server;
    let config::Admin {
        listen: admin_listen,
        max_connections: admin_connections,
        tokens,
        tls: admin_tls,
    } = admin;
    let config::Store { url, password, connections, statement_timeout, backup_dir } = store;
    let config::Plugins {
        dir,
        call_deadline,
        slow_call,
        verify,
        lock,
        checksums,
        public_keys,
        allow_writable_by_others,
        required,
    } = plugins;
    let config::Requests { keep, raw_limit_bytes, quarantine_count, quarantine_bytes } = requests;
    let config::Retention {
        resolved_alerts,
        records,
        raw_requests,
        deliveries,
        audit,
        max_store_bytes,
    } = retention;
    let config::Watch { enabled, settle, look_every } = watch;
    let config::Log { format, level } = log;
    let live = [
        ("server.public_url", *public_url != old.server.public_url),
        ("server.body_limit_bytes", *body_limit_bytes != old.server.body_limit_bytes),
        ("server.body_timeout", *body_timeout != old.server.body_timeout),
        ("server.hide_integrations", *hide_integrations != old.server.hide_integrations),
        ("server.trusted_proxies", *trusted_proxies != old.server.trusted_proxies),
        ("server.tls", has_another_pair(tls.as_ref(), old.server.tls.as_ref())),
        ("admin.tls", has_another_pair(admin_tls.as_ref(), old.admin.tls.as_ref())),
        ("admin.tokens", !are_same(tokens, &old.admin.tokens)),
        ("store.backup_dir", *backup_dir != old.store.backup_dir),
        ("plugins.dir", *dir != old.plugins.dir),
        ("plugins.call_deadline", *call_deadline != old.plugins.call_deadline),
        ("plugins.slow_call", *slow_call != old.plugins.slow_call),
        ("plugins.verify", *verify != old.plugins.verify),
        ("plugins.lock", *lock != old.plugins.lock),
        ("plugins.checksums", *checksums != old.plugins.checksums),
        ("plugins.public_keys", *public_keys != old.plugins.public_keys),
        (
            "plugins.allow_writable_by_others",
            *allow_writable_by_others != old.plugins.allow_writable_by_others,
        ),
        ("plugins.required", *required != old.plugins.required),
        ("requests.keep", *keep != old.requests.keep),
        ("requests.raw_limit_bytes", *raw_limit_bytes != old.requests.raw_limit_bytes),
        ("requests.quarantine_count", *quarantine_count != old.requests.quarantine_count),
        ("requests.quarantine_bytes", *quarantine_bytes != old.requests.quarantine_bytes),
        ("retention.resolved_alerts", *resolved_alerts != old.retention.resolved_alerts),
        ("retention.records", *records != old.retention.records),
        ("retention.raw_requests", *raw_requests != old.retention.raw_requests),
        ("retention.deliveries", *deliveries != old.retention.deliveries),
        ("retention.audit", *audit != old.retention.audit),
        ("retention.max_store_bytes", *max_store_bytes != old.retention.max_store_bytes),
        ("watch.enabled", *enabled != old.watch.enabled),
        ("watch.settle", *settle != old.watch.settle),
        ("watch.look_every", *look_every != old.watch.look_every),
        ("routes", *routes != old.routes),
    ];
    let fixed = [
        ("server.listen", is_elsewhere(*listen, old.server.listen)),
        ("server.header_limit_bytes", *header_limit_bytes != old.server.header_limit_bytes),
        ("server.header_timeout", *header_timeout != old.server.header_timeout),
        ("server.write_timeout", *write_timeout != old.server.write_timeout),
        ("server.max_connections", *max_connections != old.server.max_connections),
        (
            "server.max_connections_per_address",
            *max_connections_per_address != old.server.max_connections_per_address,
        ),
        ("server.body_memory_bytes", *body_memory_bytes != old.server.body_memory_bytes),
        (
            "server.max_wrong_tokens_per_minute",
            *max_wrong_tokens_per_minute != old.server.max_wrong_tokens_per_minute,
        ),
        ("server.shutdown_timeout", *shutdown_timeout != old.server.shutdown_timeout),
        ("server.tls", tls.is_some() != old.server.tls.is_some()),
        ("admin.tls", admin_tls.is_some() != old.admin.tls.is_some()),
        ("admin.max_connections", *admin_connections != old.admin.max_connections),
        ("admin.listen", is_elsewhere(*admin_listen, old.admin.listen)),
        ("store.url", *url != old.store.url),
        ("store.password", !is_same_secret(password.as_ref(), old.store.password.as_ref())),
        ("store.connections", *connections != old.store.connections),
        ("store.statement_timeout", *statement_timeout != old.store.statement_timeout),
        ("state_dir", *state_dir != old.state_dir),
        ("log.format", *format != old.log.format),
        ("log.level", *level != old.log.level),
    ];
    let live = live.map(|(key, changed)| (key, changed, ConfigChangeKind::Changed));
    let fixed = fixed.map(|(key, changed)| (key, changed, ConfigChangeKind::NeedsRestart));
    let delivery = of_delivery(&old.delivery, delivery);
    let tracing = of_tracing(&old.tracing, tracing);
    live.into_iter()
        .chain(delivery.map(|(key, changed)| (key, changed, ConfigChangeKind::Changed)))
        .chain(tracing.map(|(key, changed)| (key, changed, ConfigChangeKind::Changed)))
        .chain(fixed)
        .filter(|(_, changed, _)| *changed)
        .map(|(key, _, change)| ConfigChange { key: key.into(), change, detail: String::new() })
        .collect()
}

/// Returns the keys of `[delivery]`, each with true if its value differs.
fn of_delivery(
    old: &config::DeliveryConfig,
    new: &config::DeliveryConfig,
) -> [(&'static str, bool); 10] {
    let config::DeliveryConfig {
        retry,
        give_up_after,
        connect_timeout,
        tls_timeout,
        header_timeout,
        body_timeout,
        proxy,
        ca_file,
        ca_pem,
        alert_url,
        alerts_url,
    } = new;
    [
        ("delivery.retry", *retry != old.retry),
        ("delivery.give_up_after", *give_up_after != old.give_up_after),
        ("delivery.connect_timeout", *connect_timeout != old.connect_timeout),
        ("delivery.tls_timeout", *tls_timeout != old.tls_timeout),
        ("delivery.header_timeout", *header_timeout != old.header_timeout),
        ("delivery.body_timeout", *body_timeout != old.body_timeout),
        ("delivery.proxy", *proxy != old.proxy),
        ("delivery.alert_url", *alert_url != old.alert_url),
        ("delivery.alerts_url", *alerts_url != old.alerts_url),
        ("delivery.ca_file", *ca_file != old.ca_file || *ca_pem != old.ca_pem),
    ]
}

/// Returns the keys of `[tracing]`, each with true if its value differs.
fn of_tracing(old: &config::Tracing, new: &config::Tracing) -> [(&'static str, bool); 6] {
    let config::Tracing {
        endpoint,
        sample_ratio,
        service_name,
        headers: _,
        timeout,
        ca_file,
        ca_pem,
    } = new;
    [
        ("tracing.endpoint", *endpoint != old.endpoint),
        ("tracing.sample_ratio", *sample_ratio != old.sample_ratio),
        ("tracing.service_name", *service_name != old.service_name),
        ("tracing.headers", !new.has_headers_of(old)),
        ("tracing.timeout", *timeout != old.timeout),
        ("tracing.ca_file", *ca_file != old.ca_file || *ca_pem != old.ca_pem),
    ]
}

/// Returns true if the address differs. Port 0 means any port, which the present one satisfies.
fn is_elsewhere(new: SocketAddr, old: SocketAddr) -> bool {
    new.ip() != old.ip() || (new.port() != 0 && new.port() != old.port())
}

/// Returns true if both have a certificate, and these differ.
fn has_another_pair(new: Option<&config::Tls>, old: Option<&config::Tls>) -> bool {
    new.zip(old).is_some_and(|(new, old)| new.pair != old.pair)
}

/// Returns true if a secret has the same value, or is still missing.
fn is_same_secret(one: Option<&Secret>, other: Option<&Secret>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.matches(other.expose().as_bytes()),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn are_same(new: &[AdminToken], old: &[AdminToken]) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new.is_same(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_state_dir_needs_a_restart() {
        let old = Config::default();
        let new = Config { state_dir: Some("elsewhere".into()), ..Config::default() };
        let changes = of_settings(&old, &new);
        let changes: Vec<_> = changes.iter().map(|it| (it.key.as_str(), it.change)).collect();
        assert_eq!(changes, [("state_dir", ConfigChangeKind::NeedsRestart)]);
    }

    #[test]
    fn another_scope_of_a_token_is_a_change_and_another_list_of_the_same_scope_is_none() {
        let with = |scopes: &str| {
            let text = format!("tokens = [{{ name = 'a', token = 'x', scopes = {scopes} }}]");
            Config { admin: toml::from_str(&text).expect("it is good"), ..Config::default() }
        };
        let changes = |old: &str, new: &str| {
            let changes = of_settings(&with(old), &with(new));
            changes.into_iter().map(|it| (it.key, it.change)).collect::<Vec<_>>()
        };
        let changed = ("admin.tokens".to_owned(), ConfigChangeKind::Changed);
        assert_eq!(changes("['read']", "['act']"), [changed]);
        assert_eq!(changes("['act']", "['read', 'act']"), []);
    }

    #[test]
    fn routes_and_authorities_that_differ_are_applied_without_a_restart() {
        let old = Config::default();
        let mut new = Config::default();
        new.delivery.ca_pem = Some(b"other authorities in the same file".to_vec());
        new.routes.push(toml::from_str("to = ['ops']").expect("a route"));
        let changes = of_settings(&old, &new);
        let changes: Vec<_> = changes.iter().map(|it| (it.key.as_str(), it.change)).collect();
        let changed = ["routes", "delivery.ca_file"].map(|key| (key, ConfigChangeKind::Changed));
        assert_eq!(changes, changed);
    }
}
