//! `tocsin audit`: lists the acts of people and programs through the admin API.

use clap::Args;
use jiff::Timestamp;

use super::{
    Connection,
    arguments::parse_time,
    client::Client,
    output,
    pages::{self, PagedList},
    times::local,
};
use crate::{api::audit::entries::AuditList, store::audit::AuditEntry};

#[derive(Args, Debug)]
pub(super) struct Audit {
    #[command(flatten)]
    connection: Connection,
    /// Show only acts of actors with this text in their name, such as `alice`
    #[arg(long, value_name = "TEXT")]
    actor: Option<String>,
    /// Show only this act, such as `acknowledge_alert`
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Show only acts on this object, such as `alert 17`, or on any object of a kind, such as `alert`
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// Show only acts since this time, such as `2026-11-24T10:00:00Z`, or `2h` for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Show only acts until this time, such as `2026-11-24T10:00:00Z`, or `2h` for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Show at most this many acts
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

pub(super) fn list(options: &Audit) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let filters = [
        ("actor", options.actor.clone()),
        ("action", options.action.clone()),
        ("object", options.object.clone()),
        ("since", options.since.map(|time| time.to_string())),
        ("until", options.until.map(|time| time.to_string())),
    ];
    let list: AuditList = pages::fetch(&client, "/api/v1/audit", &filters, options.limit as usize)?;
    if options.json {
        return output::print_json(&list);
    }
    if list.entries.is_empty() {
        return output::print_line("no acts");
    }
    let row = |entry: &AuditEntry| {
        vec![
            entry.number.to_string(),
            format!("{:.0}", local(entry.at)),
            entry.actor.to_string(),
            entry.action.clone(),
            entry.object.clone().unwrap_or_default(),
            entry.result.clone(),
            entry.address.clone().unwrap_or_default(),
            entry.detail.clone().unwrap_or_default(),
        ]
    };
    let header = ["ACT", "TIME", "ACTOR", "ACTION", "OBJECT", "RESULT", "ADDRESS", "DETAIL"];
    output::print_table(&header, &list.entries.iter().map(row).collect::<Vec<_>>())?;
    if list.next_cursor.is_some() {
        output::print_error("there are more acts; raise --limit to see them");
    }
    Ok(())
}

impl PagedList for AuditList {
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn next_cursor(&self) -> Option<&String> {
        self.next_cursor.as_ref()
    }

    fn append(&mut self, page: Self) {
        self.entries.extend(page.entries);
        self.next_cursor = page.next_cursor;
    }
}
