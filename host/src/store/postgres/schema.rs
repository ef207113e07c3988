//! The server and the schema: what the host asks of them, and their versions.

use anyhow::{Context, bail, ensure};
use tokio_postgres::{Client, Row};

use crate::alert::AlertIds;

/// Scripts that make the schema of each version from the one before. The first one begins with an empty schema.
const SCHEMAS: [&str; 1] = [include_str!("schema/1.sql")];
const SCHEMA_VERSION: i64 = SCHEMAS.len() as i64;
/// Lowest version whose hosts can use a database of each version. A change that older hosts do not bear comes one
/// minor version of the host after its replacement.
const COMPATIBLE_FROM: [i64; SCHEMAS.len()] = [1];
/// Oldest version of PostgreSQL, as `server_version_num` has it.
const OLDEST_SERVER: i64 = 150_000;
/// Key of the lock under which one host at a time looks at the schema and changes it: `TOCSIN` in ASCII.
const SCHEMA_LOCK: i64 = 0x544f_4353_494e;
/// Numbers of transactions that are skipped after a restored dump.
const SKIPPED: i64 = 1000;

/// A database as it was found, or made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) ids: AlertIds,
    /// Difference between the numbers of transactions in the store and those of PostgreSQL.
    pub(super) offset: i64,
    /// True if the database was restored from a dump since a host used it last.
    pub(super) was_restored: bool,
}

/// Checks the server.
///
/// # Errors
///
/// If the host cannot keep its promises with it.
pub(super) async fn check_server(client: &Client) -> anyhow::Result<()> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
               current_setting('server_encoding'), current_setting('synchronous_commit'), \
               pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    let row = client.query_one(sql, &[]).await?;
    let (number, version): (i64, &str) = (row.get(0), row.get(1));
    let (encoding, sync, only_reads): (&str, &str, bool) = (row.get(2), row.get(3), row.get(4));
    ensure!(
        number >= OLDEST_SERVER,
        "the server is PostgreSQL {version}, and this host needs 15 or later\nhint: upgrade the server"
    );
    ensure!(
        encoding == "UTF8",
        "the database has the encoding {encoding}, and this host needs UTF8\n\
         hint: make a database with `createdb --encoding=UTF8 --template=template0`"
    );
    ensure!(
        sync != "off",
        "`synchronous_commit` is off, so that the server could lose what was acknowledged\n\
         hint: set it to `on` for the user or the database of `store.url`"
    );
    ensure!(
        !only_reads,
        "the server only reads: it is a standby, or `default_transaction_read_only` is on\n\
         hint: name the primary in `store.url`, or all servers"
    );
    Ok(())
}

/// Makes or upgrades the schema.
///
/// # Errors
///
/// If a newer host or another program made it, or the server refuses.
pub(super) async fn prepare(client: &Client) -> anyhow::Result<Found> {
    client.batch_execute("BEGIN").await?;
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK]).await?;
    let known = version(client).await?;
    if known == 0 {
        client
            .batch_execute("CREATE SCHEMA tocsin")
            .await
            .context("cannot make the schema `tocsin`")?;
    }
    client.batch_execute("SET LOCAL search_path = tocsin").await?;
    for (place, script) in SCHEMAS.iter().enumerate().skip(usize::try_from(known)?) {
        let context = || format!("cannot make version {} of the schema", place + 1);
        client.batch_execute(script).await.with_context(context)?;
    }
    if known < SCHEMA_VERSION {
        let compatible = COMPATIBLE_FROM.last().copied().unwrap_or(SCHEMA_VERSION);
        set(client, "schema", SCHEMA_VERSION).await?;
        set(client, "compatible_from", compatible).await?;
    }
    if known == 0 {
        let salt = i64::try_from(fastrand::u64(1..1 << 40))?;
        set(client, "salt", salt).await?;
        set(client, "offset", 0).await?;
    }
    let found = identity(client).await?;
    client.batch_execute("COMMIT").await?;
    Ok(found)
}

/// Looks at a database without changing it.
///
/// # Errors
///
/// If a newer host or another program made the schema.
pub(super) async fn check(client: &Client) -> anyhow::Result<()> {
    check_server(client).await?;
    let known = version(client).await?;
    if known == 0 {
        let sql = "SELECT has_database_privilege(current_database(), 'CREATE')";
        let may_create: bool = client.query_one(sql, &[]).await?.get(0);
        ensure!(
            may_create,
            "the user may not make the schema `tocsin`\n\
             hint: `GRANT CREATE ON DATABASE ... TO ...` for the user of `store.url`"
        );
    }
    Ok(())
}

/// Returns the version of the schema; 0 if there is none.
async fn version(client: &Client) -> anyhow::Result<i64> {
    let sql = "SELECT to_regnamespace('tocsin') IS NOT NULL, to_regclass('tocsin.meta') IS NOT NULL, \
               to_regclass('tocsin.alerts') IS NOT NULL";
    let row = client.query_one(sql, &[]).await?;
    let (has_schema, has_meta, has_alerts): (bool, bool, bool) =
        (row.get(0), row.get(1), row.get(2));
    if !has_schema {
        return Ok(0);
    }
    const FOREIGN: &str = "the schema `tocsin` is one of another program\n\
                           hint: use another database in `store.url`";
    ensure!(has_meta && has_alerts, FOREIGN);
    let sql = "SELECT key, value FROM tocsin.meta WHERE key IN ('schema', 'compatible_from')";
    let rows = match client.query(sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| code.code() == "42703") => bail!(FOREIGN),
        Err(error) => return Err(error.into()),
    };
    let is = |row: &&Row, key: &str| row.try_get::<_, &str>(0).is_ok_and(|known| known == key);
    let value = |key: &str| rows.iter().find(|row| is(row, key))?.try_get(1).ok();
    let known: (Option<i64>, Option<i64>) = (value("schema"), value("compatible_from"));
    let (Some(version), Some(compatible)) = known else { bail!(FOREIGN) };
    ensure!(
        compatible <= SCHEMA_VERSION,
        "a newer Tocsin made the schema (version {version}, for hosts that know {compatible}; this host \
         knows {SCHEMA_VERSION})\nhint: use the newer host, or another database"
    );
    Ok(version)
}

/// Reads the values that tell this database from others. After a dump was restored on another server, the numbers
/// of its transactions may be lower than those in the store: new ones are made higher.
async fn identity(client: &Client) -> anyhow::Result<Found> {
    let sql = "SELECT (SELECT value FROM meta WHERE key = 'salt'), (SELECT value FROM meta WHERE key = 'offset'), \
               pg_current_xact_id()::text::bigint, greatest((SELECT max(id) FROM transactions), \
               (SELECT max(transaction_id) FROM changes), (SELECT max(transaction_id) FROM alerts), 0)";
    let row = client.query_one(sql, &[]).await?;
    let (salt, mut offset): (i64, i64) = (row.get(0), row.get(1));
    let (current, last): (i64, i64) = (row.get(2), row.get(3));
    let was_restored = last > current + offset;
    if was_restored {
        offset = last - current + SKIPPED;
        set(client, "offset", offset).await?;
    }
    Ok(Found { ids: AlertIds::new(salt.cast_unsigned()), offset, was_restored })
}

async fn set(client: &Client, key: &str, value: i64) -> anyhow::Result<()> {
    let sql = "INSERT INTO tocsin.meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    client.execute(sql, &[&key, &value]).await?;
    Ok(())
}
