//! Hosts that share the database, as they report themselves.

use std::time::Duration;

use ulid::Ulid;

use super::{PostgresStore, duties, shared::Shared, work};
use crate::store::{
    Pending,
    duties::Duty,
    hosts::{HOSTS_KEPT, HostReport, HostStore, KnownHost},
    sql::{Row, Snapshot, SqlResult, json, values},
};

const REPORT: &str = "INSERT INTO hosts (id, report, first_seen_at, seen_at, stopped) \
     VALUES (?1, ?2, clock_timestamp(), clock_timestamp(), 0) \
     ON CONFLICT (id) DO UPDATE SET report = excluded.report, seen_at = excluded.seen_at, stopped = 0";

const FORGET: &str =
    "DELETE FROM hosts WHERE seen_at < clock_timestamp() - CAST(?1 AS BIGINT) * INTERVAL '1 ms'";

const STOP: &str = "UPDATE hosts SET stopped = 1, seen_at = clock_timestamp() WHERE id = ?1";

const HOSTS: &str = "SELECT h.id, h.report, CAST(extract(epoch FROM h.seen_at) * 1000 AS BIGINT), \
     CAST(extract(epoch FROM clock_timestamp() - h.seen_at) * 1000 AS BIGINT), h.stopped \
     FROM hosts h ORDER BY h.first_seen_at, h.id";

const DUTIES: &str =
    "SELECT holder, duty FROM leases WHERE holder IS NOT NULL AND until >= clock_timestamp()";

impl HostStore for PostgresStore {
    fn this_host(&self) -> Ulid {
        self.shared.this_host
    }

    fn report(&self, report: HostReport) -> Pending<()> {
        work::write(&self.shared, {
            let id = self.shared.this_host;
            move |open| {
                open.database.execute(REPORT, values![id, json(&report)?])?;
                let kept = i64::try_from(HOSTS_KEPT.as_millis()).unwrap_or(i64::MAX);
                open.database.execute(FORGET, values![kept]).map(drop)
            }
        })
    }

    fn hosts(&self) -> Pending<Vec<KnownHost>> {
        work::read(&self.shared, hosts)
    }
}

fn hosts(snapshot: &Snapshot<'_>) -> SqlResult<Vec<KnownHost>> {
    let duty = |row: &Row<'_>| Ok((row.get::<Ulid>(0)?, Duty::named(row.text(1)?)));
    let held = snapshot.database.all(DUTIES, values![], duty)?;
    snapshot.database.all(HOSTS, values![], |row| {
        let id = row.get(0)?;
        let own = held.iter().filter(|(holder, _)| *holder == id);
        let mut duties: Vec<Duty> = own.filter_map(|(_, duty)| duty.clone()).collect();
        duties.sort();
        let silent_ms: i64 = row.get(3)?;
        Ok(KnownHost {
            id,
            report: row.json(1)?,
            last_seen_at: row.get(2)?,
            silent_for: Duration::from_millis(silent_ms.max(0).cast_unsigned()),
            has_stopped: row.get(4)?,
            duties,
        })
    })
}

/// Notes that this host stops, and gives up its duties.
pub(super) fn stop(shared: &Shared) {
    let stopped = work::transaction(shared, &|open| {
        open.database.execute(duties::RELEASE_ALL, values![shared.this_host])?;
        open.database.execute(STOP, values![shared.this_host]).map(drop)
    });
    if let Err(error) = stopped {
        tracing::warn!(
            event = "host_stop_not_noted",
            %error,
            "cannot tell other hosts of the stop: they take over this host's work once its leases are over",
        );
    }
}
