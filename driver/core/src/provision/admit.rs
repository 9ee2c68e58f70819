//! Whom a volume lets in at the device: the nodes that have it, and nobody else.
//!
//! A host that is kept out although its node has the volume loses it at the next reconnect, so
//! nobody is kept out unless the device was seen to go by the name that is set. The other way
//! round the harm is smaller: who is let in without having the volume is as it is without any
//! of this.

use uuid::Uuid;

use crate::appliance::DiskItem;
use crate::device_access::{DeviceAccess, Rule};
use crate::nqn::{HOST_PREFIX, Nqn};
use crate::volume_id::{Form, VolumeId};

/// The rule by which hosts may be kept out of a volume; `None` where nobody may be.
///
/// A device whose sessions end with a change of the name would have a machine wait whenever
/// another node gets the volume. Volumes of the older driver have sessions that go by another
/// name, and nobody can see when the last of them is gone.
#[must_use]
pub fn enforceable(access: Option<DeviceAccess>, id: &VolumeId) -> Option<Rule> {
    let access = access.filter(|access| access.keeps_sessions && id.form() == Form::Short)?;
    match access.rule {
        Rule::Exact | Rule::List => Some(access.rule),
        Rule::Ignored | Rule::Other => None,
    }
}

/// The hosts that are to be let in now, where the item says otherwise; an empty list is
/// everybody. `hosts` are those of the nodes that have the volume or get it.
#[must_use]
pub fn admit(item: &DiskItem, hosts: &[Nqn], rule: Option<Rule>) -> Option<Vec<Nqn>> {
    let wanted = match (hosts, rule) {
        // Closed to whoever had it last, or to nobody: whoever gets it next is let in then.
        ([], _) => return None,
        (_, Some(Rule::List)) | ([_], Some(Rule::Exact)) => hosts.to_vec(),
        // One name only, and two that must pass.
        (_, Some(_)) => Vec::new(),
        // Whatever the rule is, the host of this name passes.
        ([only], None) if is(item, std::slice::from_ref(only)) => return None,
        (_, None) => Vec::new(),
    };
    (!is(item, &wanted)).then_some(wanted)
}

/// Whether the item lets in these hosts and no other, in whichever order.
fn is(item: &DiskItem, hosts: &[Nqn]) -> bool {
    let mut set: Vec<&str> = names(item).collect();
    let mut wanted: Vec<&str> = hosts.iter().map(Nqn::as_str).collect();
    set.sort_unstable();
    wanted.sort_unstable();
    set == wanted
}

/// Whether the item lets everybody in, or hosts of the form that nodes have: whoever made the
/// volume may take it for made, as its next attachment lets the node in.
pub(super) fn is_open_or_ours(item: &DiskItem) -> bool {
    names(item).all(|name| {
        let id = name.strip_prefix(HOST_PREFIX).map(Uuid::try_parse);
        id.is_some_and(|id| id.is_ok())
    })
}

fn names(item: &DiskItem) -> impl Iterator<Item = &str> {
    let set = item.allowed_host.as_deref().unwrap_or_default();
    set.split(',').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::appliance::DiskKind;
    use crate::nqn::HostIdentity;

    const RULES: [Option<Rule>; 3] = [None, Some(Rule::Exact), Some(Rule::List)];

    fn host(node: &str) -> Nqn {
        HostIdentity::of(&"lab".parse().unwrap(), node).nqn
    }

    fn item(allowed: &[Nqn]) -> DiskItem {
        let names: Vec<&str> = allowed.iter().map(Nqn::as_str).collect();
        DiskItem {
            slot: "pvc-1".into(),
            comment: String::new(),
            kind: DiskKind::Other("file".into()),
            exported: true,
            nqn: None,
            port: None,
            allowed_host: Some(names.join(",")),
        }
    }

    /// Whom a device of a rule lets in.
    fn lets_in(rule: Rule, allowed: &[Nqn], host: &Nqn) -> bool {
        match rule {
            _ if allowed.is_empty() => true,
            Rule::List => allowed.contains(host),
            Rule::Exact | Rule::Ignored | Rule::Other => allowed == [host.clone()],
        }
    }

    #[test]
    fn a_migration_opens_and_closes() {
        let [a, b] = ["a", "b"].map(host);
        let (one, two) = (vec![a.clone()], vec![a.clone(), b.clone()]);
        let closed = item(&one);
        for (rule, during) in [(Rule::Exact, vec![]), (Rule::List, two.clone())] {
            assert_eq!(admit(&item(&[]), &one, Some(rule)), Some(one.clone()));
            assert_eq!(admit(&closed, &one, Some(rule)), None);
            assert_eq!(admit(&closed, &two, Some(rule)), Some(during.clone()));
            let moving = item(&during);
            assert_eq!(admit(&moving, &two, Some(rule)), None);
            let left = std::slice::from_ref(&b);
            assert_eq!(admit(&moving, left, Some(rule)), Some(left.to_vec()));
            assert_eq!(admit(&moving, &[], Some(rule)), None);
        }
    }

    #[test]
    fn where_nobody_may_be_kept_out_a_closed_volume_is_opened_for_the_next_node() {
        let [a, b] = ["a", "b"].map(host);
        let closed = item(std::slice::from_ref(&a));
        assert_eq!(admit(&closed, std::slice::from_ref(&a), None), None);
        assert_eq!(admit(&closed, std::slice::from_ref(&b), None), Some(vec![]));
        assert_eq!(admit(&closed, &[a, b], None), Some(vec![]));
        assert_eq!(admit(&item(&[]), &[host("a")], None), None);
    }

    #[test]
    fn only_what_was_seen_to_hold_keeps_anybody_out() {
        let ours: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        let older: VolumeId = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e".parse().unwrap();
        for rule in Rule::ALL {
            for keeps_sessions in [true, false] {
                let access = DeviceAccess {
                    rule,
                    keeps_sessions,
                    ends_sessions: true,
                };
                let holds = keeps_sessions && matches!(rule, Rule::Exact | Rule::List);
                let expected = holds.then_some(rule);
                assert_eq!(enforceable(Some(access), &ours), expected);
                assert_eq!(enforceable(Some(access), &older), None);
            }
        }
        assert_eq!(enforceable(None, &ours), None);
    }

    #[test]
    fn a_name_that_no_node_has_is_not_ours() {
        let with = |allowed: &str| {
            let mut item = item(&[]);
            item.allowed_host = Some(allowed.to_owned());
            is_open_or_ours(&item)
        };
        let (a, b) = (host("a"), host("b"));
        assert!(with("") && with(a.as_str()) && with(&format!("{a},{b}")));
        for other in ["nqn.2014-08.org.nvmexpress:uuid:x", "host", "*"] {
            assert!(!with(other) && !with(&format!("{a},{other}")), "{other}");
        }
    }

    proptest! {
        /// Whoever has the volume is let in, whatever was set before, by a device of the rule
        /// that was seen and, where none was, of any; and where it was seen that a host can
        /// be kept out, one node's volume is that node's alone.
        #[test]
        fn who_has_it_is_let_in_and_a_plan_is_made_once(
            before in prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..3),
            nodes in prop::sample::subsequence(vec!["a", "b", "c"], 1..3),
            rule in prop::sample::select(RULES.to_vec()),
        ) {
            let before: Vec<Nqn> = before.into_iter().map(host).collect();
            let hosts: Vec<Nqn> = nodes.into_iter().map(host).collect();
            let planned = admit(&item(&before), &hosts, rule);
            let after = planned.unwrap_or(before);
            let devices = rule.map_or(vec![Rule::Exact, Rule::List], |rule| vec![rule]);
            for device in devices {
                for host in &hosts {
                    prop_assert!(lets_in(device, &after, host), "{:?}", after);
                }
            }
            if let (Some(rule), [only]) = (rule, &hosts[..]) {
                let others = ["a", "b", "c", "d"].map(host);
                for other in others.iter().filter(|other| *other != only) {
                    prop_assert!(!lets_in(rule, &after, other));
                }
            }
            prop_assert_eq!(admit(&item(&after), &hosts, rule), None);
        }
    }
}
