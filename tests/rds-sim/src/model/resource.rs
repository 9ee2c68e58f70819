//! `/system resource` and `/disk monitor-traffic`.

use super::{Answer, Model, Request, format};
use crate::console::{Message, Value, Verb};

/// Traffic of a disk at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) write_ops: u64,
    pub(super) write_bits: u64,
}

/// What `monitor-traffic once` prints (hw).
pub(super) fn traffic(name: &str, traffic: Traffic) -> String {
    format!(
        "slot: {name}\nread-ops-per-second: 0\nwrite-ops-per-second: {}\nread-rate: 0bps\n\
         write-rate: {}\nread-time: 0ms\nwrite-time: 0ms\nin-flight-ops: 0\nactive-time: 0ms\n\
         wait-time: 0ms\n",
        traffic.write_ops,
        format::rate(traffic.write_bits)
    )
}

impl Model {
    /// `/system resource get|print`: version and board, nothing that changes.
    pub(super) fn resource(&self, request: &Request) -> Result<Answer, Message> {
        let properties = [
            ("version", self.variants.version.clone()),
            ("architecture-name", "arm64".to_owned()),
            ("board-name", "RDS2216".to_owned()),
            ("platform", "MikroTik".to_owned()),
        ];
        if request.verb == Verb::Get {
            let wanted = request
                .positional
                .first()
                .or_else(|| request.named("value-name"));
            let wanted = wanted.map(Value::text).unwrap_or_default();
            let mut properties = properties.into_iter();
            let found = properties.find(|(name, _)| *name == wanted);
            let (_, value) = found.ok_or_else(|| Message::no_match("value-name"))?;
            return Ok(Answer {
                printed: String::new(),
                value: Value::Str(value),
            });
        }
        if request.has("as-value") {
            let pairs = properties.into_iter();
            let pairs = pairs.map(|(name, value)| (name.to_owned(), Value::Str(value)));
            return Ok(Answer {
                printed: String::new(),
                value: Value::Map(pairs.collect()),
            });
        }
        let lines = properties
            .iter()
            .map(|(name, value)| format!("{name:>25}: {value}\n"));
        Ok(Answer {
            printed: lines.collect(),
            value: Value::Nil,
        })
    }

    /// `/disk monitor-traffic <slot> once`: an idle disk.
    pub(super) fn monitor_traffic(&self, request: &Request) -> Result<Answer, Message> {
        if !request.has("once") {
            return Err(Message::failure(
                "rds-sim models monitor-traffic only with once",
            ));
        }
        let given = request
            .positional
            .first()
            .or_else(|| request.named("numbers"));
        let given = given.ok_or_else(Message::no_such_item)?;
        let ids = self.numbers(given)?;
        let mut printed = String::new();
        for item in self
            .device
            .items
            .iter()
            .filter(|item| ids.contains(&item.id))
        {
            printed.push_str(&traffic(&item.slot, Traffic::default()));
        }
        Ok(Answer {
            printed,
            value: Value::Nil,
        })
    }
}
