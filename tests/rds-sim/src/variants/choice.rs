//! What the switches can be set to.

/// A value that `--variant name=value` can set.
pub trait Setting: Sized {
    /// The accepted texts, for people.
    const CHOICES: &'static str;
    /// The value of a text, or nothing.
    fn read(text: &str) -> Option<Self>;
    /// The text that [`Setting::read`] takes back.
    fn show(&self) -> String;
}

macro_rules! choices {
    ($( $(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $each:literal])+ $value:ident = $text:literal ),+ $(,)? } = $all:literal )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name { $( $(#[doc = $each])+ $value, )+ }

            impl Setting for $name {
                const CHOICES: &'static str = $all;
                fn read(text: &str) -> Option<Self> {
                    match text { $( $text => Some(Self::$value), )+ _ => None }
                }
                fn show(&self) -> String {
                    match self { $( Self::$value => $text.to_owned(), )+ }
                }
            }
        )+
    };
}

choices! {
    /// Exit status of a failed exec.
    ErrorStatus {
        /// 0, whatever happened.
        Zero = "zero",
        /// 1 when the script failed.
        One = "one",
    } = "zero|one"
    /// Line ends.
    LineEnds {
        /// `\r\n`.
        Crlf = "crlf",
        /// `\n`.
        Lf = "lf",
    } = "crlf|lf"
    /// Where printed lines break.
    Wrap {
        /// Between properties.
        Properties = "properties",
        /// At every space.
        Values = "values",
    } = "properties|values"
    /// A print without matches.
    EmptyPrint {
        /// The legend of all flags.
        Legend = "legend",
        /// Nothing at all.
        Nothing = "nothing",
    } = "legend|nothing"
    /// `set []` and `remove []`.
    EmptyFind {
        /// Succeeds and does nothing.
        Nothing = "nothing",
        /// Fails with `no such item`.
        NoSuchItem = "no-such-item",
    } = "nothing|no-such-item"
    /// A slot of more than 32 characters.
    SlotLimit {
        /// Refused.
        Reject = "reject",
        /// Cut to 32 without a word.
        Truncate = "truncate",
        /// Taken as it is.
        Accept = "accept",
    } = "reject|truncate|accept"
    /// A slot that is taken.
    DuplicateSlot {
        /// `failure: already have such entry`.
        Reject = "reject",
        /// The new item gets another name.
        Rename = "rename",
    } = "reject|rename"
    /// A second item with the same file or NQN.
    DuplicateBacking {
        /// Taken.
        Allow = "allow",
        /// `failure: already have such entry`.
        Reject = "reject",
    } = "allow|reject"
    /// `add` over an existing file.
    AddOverFile {
        /// Old content is kept.
        Reuse = "reuse",
        /// Old content becomes zeros.
        Zero = "zero",
        /// Refused.
        Fail = "fail",
    } = "reuse|zero|fail"
    /// When space is taken.
    Allocation {
        /// As it is written.
        Sparse = "sparse",
        /// At `add`, which fails when the pool is full.
        Full = "full",
    } = "sparse|full"
    /// What `free` counts.
    SpaceCount {
        /// Allocated blocks.
        Allocated = "allocated",
        /// Apparent sizes.
        Apparent = "apparent",
    } = "allocated|apparent"
    /// `remove` of a connected item.
    RemoveConnected {
        /// The host loses its namespace.
        Succeed = "succeed",
        /// `failure: in use`.
        Fail = "fail",
    } = "succeed|fail"
    /// `/file remove` of a backing file.
    FileRemoveInUse {
        /// The name goes, the open file stays.
        Succeed = "succeed",
        /// `failure: in use`.
        Fail = "fail",
    } = "succeed|fail"
    /// How hosts learn of growth.
    ResizeNotice {
        /// When they rescan.
        Rescan = "rescan",
        /// By an event, at once.
        Event = "event",
    } = "rescan|event"
    /// `set file-size` below the current size.
    Shrink {
        /// Cuts the file.
        Truncate = "truncate",
        /// Refused.
        Reject = "reject",
    } = "truncate|reject"
    /// How allowed hosts are compared.
    AccessRule {
        /// The value is one host NQN.
        Exact = "exact",
        /// The value is a list with commas.
        List = "list",
        /// The value is stored and has no effect.
        Ignored = "ignored",
        /// The value is something that no NQN of a host equals.
        OtherName = "other-name",
        /// The value is one host NQN, and a change of it counts once the item is exported anew.
        AtExport = "at-export",
    } = "exact|list|ignored|other-name|at-export"
    /// An exported item on an unmounted pool.
    UnmountedExport {
        /// No subsystem.
        Absent = "absent",
        /// A subsystem without a namespace.
        Empty = "empty",
    } = "absent|empty"
    /// Which comes first at start.
    BootOrder {
        /// The port opens when all subsystems are complete.
        SubsystemsFirst = "subsystems-first",
        /// Hosts that reconnect early are told not to retry.
        PortFirst = "port-first",
    } = "subsystems-first|port-first"
    /// The uuid of a namespace.
    NamespaceIds {
        /// Kept.
        Stable = "stable",
        /// New at every start.
        Changing = "changing",
    } = "stable|changing"
    /// One execution too many on a connection.
    ExtraExec {
        /// Never answered.
        Hang = "hang",
        /// The channel is refused.
        Refuse = "refuse",
    } = "hang|refuse"
    /// Whole numbers in JSON.
    JsonNumbers {
        /// `53`.
        Plain = "plain",
        /// `53.000000`.
        Float = "float",
        /// `"53"`.
        Text = "text",
    } = "plain|float|text"
    /// Yes and no in as-value.
    Booleans {
        /// `true`, `false`.
        TrueFalse = "true-false",
        /// `"yes"`, `"no"`.
        YesNo = "yes-no",
    } = "true-false|yes-no"
    /// When the nvme-tcp-server properties are shown.
    ServerProperties {
        /// When exported or when one was set.
        Set = "set",
        /// Only when exported.
        Exported = "exported",
        /// Always.
        Always = "always",
    } = "set|exported|always"
    /// A plain number as `file-size`.
    PlainBytes {
        /// Bytes.
        Accept = "accept",
        /// `invalid value for argument file-size`; units work.
        Reject = "reject",
    } = "accept|reject"
    /// How times are written.
    ClockFormat {
        /// `2025-11-11 16:47:07`.
        Iso = "iso",
        /// `nov/11/2025 16:47:07`.
        Legacy = "legacy",
    } = "iso|legacy"
    /// A behaviour of the device's kernel that the host's own nvmet decides here.
    Undecided {
        /// As this machine's nvmet does it.
        KernelTarget = "kernel-target",
    } = "kernel-target"
}

/// Width of the terminal that an exec without one is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// So many columns.
    Columns(u16),
    /// Lines never wrap.
    None,
}

impl Setting for Width {
    const CHOICES: &'static str = "none or 40 to 1000";
    fn read(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            _ => text
                .parse()
                .ok()
                .filter(|columns| (40..=1000).contains(columns))
                .map(Self::Columns),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Columns(columns) => columns.to_string(),
            Self::None => "none".to_owned(),
        }
    }
}

impl Setting for u64 {
    const CHOICES: &'static str = "a number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for i64 {
    const CHOICES: &'static str = "a number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    const CHOICES: &'static str = "yes|no";
    fn read(text: &str) -> Option<Self> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
    fn show(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }
}

impl Setting for String {
    const CHOICES: &'static str = "a text";
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn show(&self) -> String {
        self.clone()
    }
}
