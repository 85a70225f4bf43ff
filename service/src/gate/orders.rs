//! An operator's order: one at a time, with an end, kept over restarts of the gate.
//!
//! It ends by the clock of this boot. An order to open dies with the boot; one to close goes on by the wall clock,
//! because what it guards against may still be there.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_rules::gate;
use serde::{Deserialize, Serialize};

use super::clock::{self, Micros};
use super::snapshot::Order;

/// The longest order.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const FILE: &str = "override.json";

/// The order that counts, and its file.
#[derive(Debug)]
pub struct Orders {
    path: PathBuf,
    boot_id: String,
    kept: Option<Kept>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    order: Order,
    boot_id: String,
    until_boot_us: Micros,
}

impl Orders {
    /// What is left of the order in `directory`.
    ///
    /// # Errors
    /// When there is one that cannot be read: an order to close might be lost.
    pub fn load(directory: &Path, boot_id: &str) -> Result<Self, String> {
        let path = directory.join(FILE);
        let mut orders = Self { path, boot_id: boot_id.to_owned(), kept: None };
        let named = |path: &Path, why: String| {
            format!(
                "{} holds an operator's order and cannot be read: {why}; remove it to forget the order",
                path.display()
            )
        };
        match std::fs::read(&orders.path) {
            Ok(text) => {
                let kept: Kept =
                    serde_json::from_slice(&text).map_err(|error| named(&orders.path, error.to_string()))?;
                orders.kept = orders.left_of(kept, clock::now(), clock::wall());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(&orders.path, error.to_string())),
        }
        Ok(orders)
    }

    fn left_of(&self, mut kept: Kept, now: Micros, wall: i64) -> Option<Kept> {
        if kept.boot_id != self.boot_id {
            if kept.order.open {
                return None;
            }
            // A wall clock that was set back must not make it longer than it was.
            let left = (kept.order.until_us - wall).clamp(0, kept.order.until_us - kept.order.given_us);
            kept.boot_id.clone_from(&self.boot_id);
            kept.until_boot_us = now + left;
        }
        (now < kept.until_boot_us).then_some(kept)
    }

    /// Sets the order, in place of the one there is.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be kept; the one there is goes on then.
    pub fn set(&mut self, order: Order) -> Result<(), String> {
        let time = u64::try_from(order.until_us - order.given_us).map(Duration::from_micros).unwrap_or_default();
        if time < Duration::from_secs(1) || time > LONGEST {
            return Err("an order lasts from 1 second to 7 days".to_owned());
        }
        if !(order.rw || order.ro) {
            return Err("an order is about read-write traffic, read-only traffic, or both".to_owned());
        }
        said("reason", &order.reason)?;
        given_by(&order.actor)?;
        let kept = Kept { order, boot_id: self.boot_id.clone(), until_boot_us: clock::now() + clock::micros(time) };
        let text = serde_json::to_vec_pretty(&kept).map_err(|error| error.to_string())?;
        self.write(&text).map_err(|error| format!("it cannot be kept in {}: {error}", self.path.display()))?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Forgets the order. Whether there was one.
    ///
    /// # Errors
    /// Why it cannot be forgotten for good; it goes on then.
    pub fn clear(&mut self) -> Result<bool, String> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{} cannot be removed: {error}", self.path.display()))
            }
            _ => Ok(self.kept.take().is_some()),
        }
    }

    /// The order that counts at `now`; one that has ended is forgotten.
    pub fn at(&mut self, now: Micros) -> Option<&Order> {
        if self.kept.as_ref().is_some_and(|kept| now >= kept.until_boot_us) {
            tracing::info!("the operator's order has ended");
            if let Err(error) = self.clear() {
                tracing::warn!("{error}");
                self.kept = None;
            }
        }
        self.kept.as_ref().map(|kept| &kept.order)
    }

    /// The same as the decision wants it.
    pub fn manual(&self) -> gate::Manual {
        let Some(kept) = &self.kept else { return gate::Manual::default() };
        let order = gate::Order { open: kept.order.open, until: kept.until_boot_us, reason: kept.order.reason.clone() };
        gate::Manual { rw: kept.order.rw.then(|| order.clone()), ro: kept.order.ro.then_some(order) }
    }

    fn write(&self, text: &[u8]) -> std::io::Result<()> {
        let new = self.path.with_extension("json.new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        let directory = self.path.parent().ok_or_else(|| std::io::Error::other("no directory"))?;
        std::fs::File::open(directory)?.sync_all()
    }
}

/// Whether an order may be given or cleared under this name.
///
/// # Errors
/// What is wrong with it.
pub fn given_by(actor: &str) -> Result<(), String> {
    said("name of who gives it", actor)
}

fn said(what: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(format!("the {what} is empty, longer than 255 bytes, or has control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(open: bool, seconds: i64) -> Order {
        let given_us = clock::wall();
        Order {
            open,
            rw: true,
            ro: false,
            reason: "maintenance".into(),
            actor: "ops".into(),
            given_us,
            until_us: given_us + seconds * 1_000_000,
        }
    }

    #[test]
    fn an_order_is_kept_over_a_restart_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let mut orders = Orders::load(directory.path(), "boot").unwrap();
        orders.set(order(true, 60)).unwrap();
        let mut again = Orders::load(directory.path(), "boot").unwrap();
        assert!(again.at(clock::now()).unwrap().open);
        assert!(again.manual().rw.is_some_and(|order| order.open) && again.manual().ro.is_none());
        assert_eq!(again.at(clock::now() + 61_000_000), None);
        assert_eq!(again.manual(), gate::Manual::default());
        assert_eq!(Orders::load(directory.path(), "boot").unwrap().kept, None);
    }

    #[test]
    fn after_a_reboot_only_an_order_to_close_goes_on() {
        for (open, wanted) in [(true, false), (false, true)] {
            let directory = tempfile::tempdir().unwrap();
            Orders::load(directory.path(), "one").unwrap().set(order(open, 60)).unwrap();
            let mut later = Orders::load(directory.path(), "two").unwrap();
            assert_eq!(later.at(clock::now()).is_some(), wanted);
            assert!(later.at(clock::now() + 61_000_000).is_none());
        }
    }

    #[test]
    fn a_clock_set_back_makes_no_order_longer() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::load(directory.path(), "two").unwrap();
        let kept = Kept { order: order(false, 60), boot_id: "one".into(), until_boot_us: 0 };
        let wall = kept.order.given_us - 3_600_000_000;
        assert_eq!(orders.left_of(kept, 1_000, wall).unwrap().until_boot_us, 1_000 + 60_000_000);
    }

    #[test]
    fn what_is_no_order_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut orders = Orders::load(directory.path(), "boot").unwrap();
        orders.set(order(false, 60)).unwrap();
        for bad in [
            order(true, 0),
            order(true, 8 * 24 * 3600),
            Order { reason: " ".into(), ..order(true, 60) },
            Order { reason: "a\nb".into(), ..order(true, 60) },
            Order { rw: false, ..order(true, 60) },
        ] {
            assert!(orders.set(bad).is_err());
        }
        assert!(!orders.at(clock::now()).unwrap().open);
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        let why = Orders::load(directory.path(), "boot").unwrap_err();
        assert!(why.contains("override.json") && why.contains("remove it"), "{why}");
    }
}
