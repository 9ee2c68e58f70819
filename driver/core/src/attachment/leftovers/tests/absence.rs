//! Looks in every order, some of which fail: what they prove, said another way.

use proptest::prelude::*;

use super::*;

const AGE: u64 = 600;
const GAP: u64 = 180;

/// What a look meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Away,
    There,
    NoNodes,
    /// It failed.
    Nothing,
}

fn sights() -> impl Strategy<Value = Vec<(u64, Sight)>> {
    let sight = prop_oneof![
        12 => Just(Sight::Away),
        1 => Just(Sight::There),
        1 => Just(Sight::NoNodes),
        2 => Just(Sight::Nothing),
    ];
    prop::collection::vec((30..150_u64, sight), 1..60)
}

/// Whether an unbroken absence of ten minutes ends with the last of these.
fn is_proved(sights: &[(u64, Sight)]) -> bool {
    let seen: Vec<_> = sights
        .iter()
        .filter(|(_, sight)| *sight != Sight::Nothing)
        .collect();
    let mut oldest: Option<u64> = None;
    let mut now = 0;
    for (number, (at, sight)) in seen.iter().rev().enumerate() {
        let is_one = oldest.is_none_or(|oldest| oldest - at <= GAP);
        if *sight != Sight::Away || !is_one {
            break;
        }
        if number == 0 {
            now = *at;
        }
        oldest = Some(*at);
    }
    sights.last().is_some_and(|last| last.1 != Sight::Nothing)
        && oldest.is_some_and(|oldest| now - oldest >= AGE)
}

proptest! {
    /// Cleared is exactly what was away in every look for ten minutes, whatever looks failed.
    #[test]
    fn cleared_is_what_was_proved_to_be_away_and_nothing_else(steps in sights()) {
        let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
        let mut at = 0;
        let mut past = Vec::new();
        for (time, sight) in steps {
            at += time;
            past.push((at, sight));
            let names = match sight {
                Sight::Away => &["here"][..],
                Sight::There => &["here", "gone"],
                Sight::NoNodes => &[],
                Sight::Nothing => continue,
            };
            let next = look_at(&mut leftovers, &found, names, at);
            prop_assert_eq!(next == [Step::Clear], is_proved(&past), "{:?}", past);
        }
    }
}
