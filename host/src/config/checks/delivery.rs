//! Checks of `[delivery]`.

use crate::config::DeliveryConfig;

use super::Checks;

impl Checks<'_> {
    pub(super) fn check_delivery(&mut self, _delivery: &DeliveryConfig) {}
}
