//! The open transaction, and the names of integrations, plugins and destinations in it.
//!
//! Other files of this folder add the changes of their subject.

use std::sync::Arc;

use super::{database::Database, error::SqlResult, memory::WriterMemory, row::Row, value::values};
use crate::alert::{AlertIds, PluginId};

/// Open transaction of a database.
pub(in crate::store) struct Transaction<'t> {
    pub(in crate::store) database: &'t dyn Database,
    pub(in crate::store) ids: AlertIds,
    pub(in crate::store) memory: &'t mut dyn WriterMemory,
}

impl Transaction<'_> {
    /// Returns the number under which an integration is stored.
    pub(in crate::store) fn integration(&mut self, name: &Arc<str>) -> SqlResult<i64> {
        if let Some(id) = self.memory.names().integrations.get(name) {
            return Ok(*id);
        }
        let sql = "INSERT INTO integrations (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        self.database.execute(sql, values![name])?;
        let sql = "SELECT id FROM integrations WHERE name = ?1";
        let id = self.database.one(sql, values![name], id)?;
        self.memory.names().integrations.insert(Arc::clone(name), id);
        Ok(id)
    }

    /// Returns the number under which a [`PluginId`] is stored.
    pub(in crate::store) fn plugin(&mut self, plugin: &Arc<PluginId>) -> SqlResult<i64> {
        if let Some(id) = self.memory.names().plugins.get(plugin) {
            return Ok(*id);
        }
        let names = values![&plugin.name, &plugin.version];
        let sql = "INSERT INTO plugins (name, version) VALUES (?1, ?2) \
                   ON CONFLICT (name, version) DO NOTHING";
        self.database.execute(sql, names)?;
        let sql = "SELECT id FROM plugins WHERE name = ?1 AND version = ?2";
        let id = self.database.one(sql, names, id)?;
        self.memory.names().plugins.insert(Arc::clone(plugin), id);
        Ok(id)
    }

    /// Returns the number under which a destination is stored.
    pub(in crate::store) fn destination(&mut self, name: &str) -> SqlResult<i64> {
        if let Some(id) = self.memory.names().destinations.get(name) {
            return Ok(*id);
        }
        let sql = "INSERT INTO destinations (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        self.database.execute(sql, values![name])?;
        let sql = "SELECT id FROM destinations WHERE name = ?1";
        let id = self.database.one(sql, values![name], id)?;
        self.memory.names().destinations.insert(name.into(), id);
        Ok(id)
    }

    /// Returns the number of a destination that has a delivery.
    pub(in crate::store) fn used_destination(&mut self, name: &str) -> SqlResult<i64> {
        let destination = self.destination(name)?;
        if self.memory.names().used_destinations.insert(destination) {
            let sql = "UPDATE destinations SET used = 1 WHERE id = ?1";
            self.database.execute(sql, values![destination])?;
        }
        Ok(destination)
    }
}

fn id(row: &Row<'_>) -> SqlResult<i64> {
    row.get(0)
}
