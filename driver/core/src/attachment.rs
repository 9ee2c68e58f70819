//! Which nodes may have a volume at once.
//!
//! A volume for one node is never attached to a second one while the first attachment
//! stands: there is no window of grace, because within one a third node once took over
//! a volume that the second was still writing. A raw block volume that many nodes may
//! write is attached to two at most, which is what a live migration needs.
//!
//! [`judge()`] is the whole rule, over everything that a cluster shows, and [`release()`] its
//! counterpart for letting go; [`preflight()`] says early which migration cannot arrive.
//! [`grant`] is the record that makes a yes hold between the answer and its trace,
//! [`fence`] says when the array must shut out a node that nobody knows to have let go, and
//! [`leftovers`] finds what stands although its node is gone.

pub mod exception;
pub mod fence;
pub mod grant;
mod identity;
mod judge;
pub mod leftovers;
mod migrations;
mod mode;
pub mod observation;
mod pod;
mod preflight;
mod release;
mod verdict;

pub use fence::{Fence, Fencing};
pub use identity::{NodeIdentity, NodeIdentityError};
pub use judge::{Request, judge};
pub use migrations::{Change, Found, Holders, Left, Migrations, Seen, Told, hand_over};
pub use mode::{Mode, ModeError, Modes, ModesError, Seat};
pub use observation::Observations;
pub use pod::{Owner, Role};
pub use preflight::{Disk, Obstacle, preflight};
pub use release::{LetGo, Release, release};
pub use verdict::{
    Denial, Finding, HandOver, Judgement, LONGEST, Noted, Object, Reason, Rule, Verdict,
};
