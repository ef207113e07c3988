//! Tests of the store against a server of the tests' own.

use std::sync::Arc;

use tocsin_test_postgres::Cluster;

use super::{PostgresAddress, PostgresStore};
use crate::store::{Store, fixture::StoreFixture};

/// A database of its own on the shared server.
struct Database {
    url: String,
}

impl Database {
    fn new() -> Self {
        Self { url: Cluster::shared().database() }
    }

    fn store(&self) -> PostgresStore {
        let address = PostgresAddress::parse(&self.url, None).expect("a URL");
        PostgresStore::open(&address, Arc::default()).expect("it opens")
    }
}

impl StoreFixture for Database {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }

    fn open_another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

mod contract {
    crate::store::contract::store_contract!(super::Database::new());
}
