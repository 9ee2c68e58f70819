//! The switches for everything about RouterOS that is not known for certain.
//!
//! A ROSE Data Server was never in reach while this was written: each behaviour is
//! modelled after a capture, the manual or somebody's report, and where those leave a
//! choice the choice is a named switch here. The defaults are the likeliest reading;
//! a user of the simulator must be right under every value, so its tests run under
//! each. Source tags: `hw` captured on a device, `doc` the manual, `insp` the console's
//! own introspection, `3p` a report of somebody who has the device, `inf` inference.

use std::fmt;

mod choice;

pub use choice::{
    AccessRule, AddOverFile, Allocation, Booleans, BootOrder, ClockFormat, DuplicateBacking,
    DuplicateSlot, EmptyFind, EmptyPrint, ErrorStatus, ExtraExec, FileRemoveInUse, JsonNumbers,
    LineEnds, NamespaceIds, PlainBytes, RemoveConnected, ResizeNotice, ServerProperties, Setting,
    Shrink, SlotLimit, SpaceCount, Undecided, UnmountedExport, Width, Wrap,
};

/// A `--variant name=value` that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// Not of the form `name=value`.
    #[error("variant {0:?} is not name=value")]
    Shape(String),
    /// No switch has this name.
    #[error("there is no variant named {0:?}; `rds-sim variants` lists them")]
    Unknown(String),
    /// The switch has no such value.
    #[error("variant {name} takes {choices}, not {value:?}")]
    Value {
        /// The switch.
        name: &'static str,
        /// What was asked for.
        value: String,
        /// What it takes.
        choices: &'static str,
    },
}

/// One line of `rds-sim variants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the switch on the command line.
    pub name: &'static str,
    /// What it takes.
    pub choices: &'static str,
    /// Its value when nothing is said.
    pub default: String,
    /// Where the default comes from.
    pub source: &'static str,
    /// What it decides.
    pub text: String,
}

macro_rules! variants {
    ($( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr, $name:literal, $source:literal; )+) => {
        /// All switches. Every field says what it decides; `Default` is the likeliest device.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Variants {
            $( $(#[doc = $doc])+ pub $field: $kind, )+
        }

        impl Default for Variants {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl Variants {
            /// Sets one switch from text.
            ///
            /// # Errors
            /// When the name is unknown or the value is not one it takes.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), VariantError> {
                match name {
                    $( $name => {
                        self.$field = <$kind as Setting>::read(value).ok_or(VariantError::Value {
                            name: $name,
                            value: value.to_owned(),
                            choices: <$kind as Setting>::CHOICES,
                        })?;
                    } )+
                    _ => return Err(VariantError::Unknown(name.to_owned())),
                }
                Ok(())
            }

            /// Every switch with its current value, in the order of the list.
            #[must_use]
            pub fn values(&self) -> Vec<(&'static str, String)> {
                vec![ $( ($name, self.$field.show()), )+ ]
            }

            /// The list that `rds-sim variants` prints.
            #[must_use]
            pub fn descriptions() -> Vec<Description> {
                let defaults = Self::default();
                vec![ $( Description {
                    name: $name,
                    choices: <$kind as Setting>::CHOICES,
                    default: defaults.$field.show(),
                    source: $source,
                    text: [$( $doc.trim() ),+].join(" "),
                }, )+ ]
            }
        }
    };
}

variants! {
    /// Exit status of an exec whose script failed; the message is on stdout either way.
    error_status: ErrorStatus = ErrorStatus::Zero, "error-status", "3p (two devices)";
    /// Columns at which printed items wrap; `none` never wraps.
    width: Width = Width::Columns(80), "width", "hw (an exec without terminal)";
    /// Line ends of everything that is sent.
    line_ends: LineEnds = LineEnds::Crlf, "line-ends", "hw";
    /// Where a line may be broken: between properties only, or at any space of a value too.
    wrap: Wrap = Wrap::Properties, "wrap", "hw (a date was kept whole); inside values is a report";
    /// What a print without matches shows.
    empty_print: EmptyPrint = EmptyPrint::Legend, "empty-print", "hw";
    /// `set` and `remove` of an empty list.
    empty_find: EmptyFind = EmptyFind::Nothing, "empty-find", "doc for find, inf for the effect";
    /// A slot of more than 32 characters.
    slot_limit: SlotLimit = SlotLimit::Reject, "slot-limit", "3p says 7.24 has the limit, hw accepted 40 characters earlier";
    /// The text of that refusal; no source shows it.
    slot_limit_text: String = "failure: slot name too long".to_owned(), "slot-limit-text", "inf";
    /// A slot that is taken.
    duplicate_slot: DuplicateSlot = DuplicateSlot::Reject, "duplicate-slot", "inf from other menus";
    /// A second item with the NQN of another one.
    duplicate_nqn: DuplicateBacking = DuplicateBacking::Allow, "duplicate-nqn", "inf";
    /// A second item with the file of another one.
    duplicate_file: DuplicateBacking = DuplicateBacking::Allow, "duplicate-file", "inf";
    /// `add` with a file that exists already: its old content is kept, zeroed, or refused.
    add_over_file: AddOverFile = AddOverFile::Reuse, "add-over-file", "inf";
    /// When the space of a new file is taken.
    allocation: Allocation = Allocation::Sparse, "allocation", "inf";
    /// Whether `free` of the pool counts allocated blocks or apparent sizes.
    space: SpaceCount = SpaceCount::Allocated, "space", "inf";
    /// `remove` of an item with a connected host.
    remove_connected: RemoveConnected = RemoveConnected::Succeed, "remove-connected", "inf; the manual's silence";
    /// `/file remove` of the file behind an item.
    file_remove_in_use: FileRemoveInUse = FileRemoveInUse::Succeed, "file-remove-in-use", "inf";
    /// Milliseconds for which a removed file stays in listings and keeps its space.
    deletion_delay_ms: u64 = 0, "deletion-delay-ms", "inf";
    /// Whether growth is announced to connected hosts or seen only when they rescan.
    resize_notice: ResizeNotice = ResizeNotice::Rescan, "resize-notice", "3p (a filesystem saw the old size until its pod restarted)";
    /// `set file-size` below the current size.
    shrink: Shrink = Shrink::Truncate, "shrink", "inf";
    /// How `nvme-tcp-server-allow-host-name` is compared with the host's NQN; empty is anybody (doc).
    access_rule: AccessRule = AccessRule::Exact, "access-rule", "inf; which of them it is, is not known";
    /// Most items that may be exported at once; 0 is no limit.
    export_limit: u64 = 0, "export-limit", "inf";
    /// An exported item whose pool is not mounted: no subsystem, or one without a namespace.
    unmounted_export: UnmountedExport = UnmountedExport::Absent, "unmounted-export", "inf; `empty` was seen by hosts after a reboot";
    /// Which comes first when the device starts to serve: its subsystems, or the port.
    boot_order: BootOrder = BootOrder::SubsystemsFirst, "boot-order", "inf";
    /// Seconds of configuration that a power cut may lose.
    config_loss_seconds: u64 = 0, "config-loss-seconds", "doc (up to 40 on some boards)";
    /// Whether a namespace keeps its uuid over a reboot.
    namespace_ids: NamespaceIds = NamespaceIds::Stable, "namespace-ids", "inf";
    /// Executions that one connection may have under way.
    execs_per_connection: u64 = 1, "execs-per-connection", "3p (more than one hung)";
    /// What becomes of one too many.
    extra_exec: ExtraExec = ExtraExec::Hang, "extra-exec", "3p (hang)";
    /// Connections at once; 0 is no limit.
    connection_limit: u64 = 0, "connection-limit", "inf";
    /// Seconds after which an idle connection is dropped; 0 is never.
    idle_seconds: u64 = 0, "idle-seconds", "inf";
    /// Milliseconds that every execution takes.
    exec_latency_ms: u64 = 0, "exec-latency-ms", "hw: a create took 428 ms, one sample";
    /// How `:serialize to=json` writes whole numbers: `53`, `53.000000` or `"53"`.
    json_numbers: JsonNumbers = JsonNumbers::Plain, "json-numbers", "3p; floats are a forum report";
    /// How as-value writes yes and no.
    booleans: Booleans = Booleans::TrueFalse, "booleans", "3p (over REST)";
    /// When items show the nvme-tcp-server properties.
    server_properties: ServerProperties = ServerProperties::Set, "server-properties", "hw: an unexported item with none set shows none";
    /// Whether a failing statement ends the script.
    abort_on_failure: bool = true, "abort-on-failure", "inf";
    /// Whether the console knows `:onerror`.
    onerror: bool = true, "onerror", "doc for newer consoles";
    /// Whether the console knows `:serialize`.
    serialize: bool = true, "serialize", "insp: since 7.13 to 7.15";
    /// Whether `file-size` takes a plain number of bytes.
    plain_bytes: PlainBytes = PlainBytes::Accept, "plain-bytes", "3p (over REST)";
    /// How times are written: `2025-11-11 16:47:07` or `jan/02/2025 10:30:45`.
    clock_format: ClockFormat = ClockFormat::Iso, "clock-format", "hw; the other one on older releases";
    /// Seconds by which the device's local time is off.
    clock_offset_seconds: i64 = 0, "clock-offset-seconds", "doc (local time without a zone)";
    /// What RouterOS calls itself.
    version: String = "7.24.4 (stable)".to_owned(), "version", "doc";
    /// Whether a write acknowledged before a power cut but not flushed survives: the kernel's
    /// target serves files through the page cache and honours flushes, and nothing else is modelled.
    unflushed_writes: Undecided = Undecided::KernelTarget, "unflushed-writes", "inf";
    /// Whether discards punch holes into the file; nvmet does what the filesystem below does.
    discard: Undecided = Undecided::KernelTarget, "discard", "inf";
}

impl Variants {
    /// Sets one switch from `name=value`.
    ///
    /// # Errors
    /// When the text has no `=`, or as for [`Variants::set`].
    pub fn set_pair(&mut self, pair: &str) -> Result<(), VariantError> {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| VariantError::Shape(pair.to_owned()))?;
        self.set(name, value)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}={}", self.name, self.default)?;
        writeln!(f, "    {}", self.text)?;
        write!(f, "    takes: {}; source: {}", self.choices, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_takes_back_the_value_it_shows() {
        let mut variants = Variants::default();
        for (name, value) in Variants::default().values() {
            variants.set(name, &value).unwrap();
        }
        assert_eq!(variants, Variants::default());
    }

    #[test]
    fn a_wrong_name_or_value_is_refused_and_says_what_is_taken() {
        let mut variants = Variants::default();
        assert_eq!(
            variants.set_pair("no-such=1"),
            Err(VariantError::Unknown("no-such".to_owned()))
        );
        assert_eq!(
            variants.set_pair("width"),
            Err(VariantError::Shape("width".to_owned()))
        );
        assert_eq!(
            variants.set_pair("shrink=maybe").unwrap_err().to_string(),
            "variant shrink takes truncate|reject, not \"maybe\""
        );
    }
}
