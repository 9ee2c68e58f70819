//! What is written is read back, and nothing else is believed.

use std::time::Duration;

use super::*;

fn names() -> ServiceNames {
    ServiceNames::new("hook", "rds-csi").unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn authority(names: &ServiceNames) -> Authority {
    Authority::generate(names, Duration::from_hours(24), now()).unwrap()
}

fn full() -> State {
    let current = authority(&names());
    let leaf = current
        .sign(&names(), Duration::from_hours(1), now())
        .unwrap();
    let retire = |until: &str| Retired {
        until: until.parse().unwrap(),
        anchor: authority(&names()).anchor().clone(),
    };
    State {
        leaf: Some(leaf),
        current: current.into(),
        next: authority(&names()).into(),
        retired: vec![
            retire("2026-12-01T00:00:00Z"),
            retire("2026-12-01T00:00:00Z"),
            retire("2026-12-24T18:30:01Z"),
        ],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let state = full();
    let data = state.write();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ca.crt",
            "ca.key",
            "next-ca.crt",
            "next-ca.key",
            "retired-20261201T000000Z.crt",
            "retired-20261224T183001Z.crt",
            "tls.crt",
            "tls.key"
        ]
    );
    let read = State::read(&data, &names());
    assert_eq!((&read.leaf, &read.retired), (&state.leaf, &state.retired));
    assert!(read.current.authority.is_some() && read.next.authority.is_some());
    assert_eq!(read.anchors(), state.anchors());
    assert_eq!(read.write(), data);
    assert!(changes(&data, &data).is_empty());
}

#[test]
fn an_authority_counts_only_with_its_own_key_and_for_its_own_service() {
    let data = full().write();
    let signs = |data: &Data, names: &ServiceNames| {
        let slot = State::read(data, names).current;
        assert!(slot.anchor.is_some(), "what was trusted stays trusted");
        slot.authority.is_some()
    };
    assert!(signs(&data, &names()));
    assert!(!signs(
        &data,
        &ServiceNames::new("other", "rds-csi").unwrap()
    ));
    for key in ["next-ca.key", "tls.key"] {
        let mut swapped = data.clone();
        swapped.insert("ca.key".to_owned(), data[key].clone());
        assert!(!signs(&swapped, &names()), "{key}");
    }
    let mut no_authority = data.clone();
    no_authority.insert("ca.crt".to_owned(), data["tls.crt"].clone());
    no_authority.insert("ca.key".to_owned(), data["tls.key"].clone());
    assert!(!signs(&no_authority, &names()), "a leaf is no CA");
}

#[test]
fn our_keys_go_and_those_of_others_stay() {
    let mut old = full().write();
    old.insert("notes".to_owned(), b"of a person".to_vec());
    old.insert("retired-garbage.crt".to_owned(), b"garbage".to_vec());
    let mut new = full().write();
    new.remove("next-ca.crt");
    let changes = changes(&old, &new);
    assert_eq!(changes["next-ca.crt"], None);
    assert_eq!(changes["retired-garbage.crt"], None);
    assert_eq!(changes["tls.crt"].as_ref(), Some(&new["tls.crt"]));
    assert!(!changes.contains_key("notes"));
}

#[test]
fn nothing_secret_is_shown() {
    let state = full();
    let shown = format!("{state:?} {:?} {:?}", state.leaf, state.current);
    assert!(
        !shown.contains("PRIVATE") && !shown.contains("BEGIN"),
        "{shown}"
    );
    let bytes = state.leaf.unwrap().key_pem()[28..60].to_vec();
    assert!(!shown.contains(str::from_utf8(&bytes).unwrap()));
}
