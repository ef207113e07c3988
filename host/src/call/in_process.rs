//! The runtime that maps plugins into this process and calls their functions directly.
//!
//! [`Libraries`] does the mapping. A plugin that ends the process ends the host.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tocsin_plugin_api::{
    Request,
    abi::{CallError, Instance, NewInstanceError},
};

use super::outcome::ReadOutcome;
use super::runtime::{LoadResult, PluginInstance, PluginRuntime, RunnablePlugin};
use crate::plugins::{
    Libraries,
    admission::AdmittedPlugin,
    journal::{LoadGuard, LoadJournal},
    library::{LoadedPlugin, Probe},
};

/// The [`PluginRuntime`] of plugins as libraries of this process. A library stays mapped until the
/// process ends.
#[derive(Debug)]
pub(crate) struct InProcessRuntime {
    libraries: Libraries,
}

impl InProcessRuntime {
    /// Creates a runtime without any plugin. Plugins that the [`LoadJournal`] sets aside are not loaded,
    /// the [`Probe`] tries each plugin before it is mapped, and threads that a plugin keeps while it is
    /// loaded count in the gauge.
    pub(crate) fn new(
        journal: LoadJournal,
        stuck_threads: Gauge,
        probe: Option<Box<dyn Probe>>,
    ) -> Self {
        Self { libraries: Libraries::new(journal, stuck_threads, probe) }
    }
}

impl PluginRuntime for InProcessRuntime {
    fn load(&self, plugin: &Arc<AdmittedPlugin>, timeout: Duration) -> LoadResult {
        Ok(self.libraries.load(plugin, timeout)?)
    }

    fn known(&self, plugin: &AdmittedPlugin) -> Option<LoadResult> {
        let known = self.libraries.known(plugin)?;
        Some(known.map(|plugin| plugin as Arc<dyn RunnablePlugin>))
    }

    fn retry(&self, name: &str) -> anyhow::Result<bool> {
        self.libraries.retry(name)
    }

    fn close(&self) {
        self.libraries.close();
    }
}

impl RunnablePlugin for LoadedPlugin {
    fn admitted(&self) -> &Arc<AdmittedPlugin> {
        &self.plugin
    }

    fn options_schema(&self) -> Result<Vec<u8>, CallError> {
        self.module.options_schema()
    }

    fn instance(&self, options: &[u8]) -> Result<Box<dyn PluginInstance>, NewInstanceError> {
        Ok(Box::new(self.module.instance(options)?))
    }

    fn begin_start(&self) -> Option<LoadGuard> {
        Some(self.begin())
    }
}

impl PluginInstance for Instance {
    fn receive(&self, request: &Request<'_>) -> Result<ReadOutcome, CallError> {
        let read = self.receive_json(request, ReadOutcome::from_json)?;
        read.map_err(|error| CallError::NotUnderstood(error.to_string()))
    }

    fn call(&self, capability: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        Instance::call(self, capability, input)
    }

    fn close(self: Box<Self>) -> Result<(), CallError> {
        Instance::close(*self)
    }
}
