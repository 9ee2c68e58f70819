//! Bytes against the figures of the specifications, written out by hand.

use proptest::prelude::*;

use super::*;

fn host() -> HostIdentity {
    HostIdentity::of(&"lab".parse().unwrap(), "node-a")
}

fn response(id: u16, status: u16) -> Vec<u8> {
    let mut pdu = vec![5, 0, 24, 0, 24, 0, 0, 0];
    pdu.extend([0; 12]);
    pdu.extend(id.to_le_bytes());
    pdu.extend((status << 1).to_le_bytes());
    pdu
}

#[test]
fn a_connection_begins_without_digests_and_alignment() {
    let pdu = initialize();
    assert_eq!(pdu[..8], [0, 0, 128, 0, 128, 0, 0, 0]);
    assert_eq!(pdu[8..], [0; 120]);
}

#[test]
fn a_connect_names_host_and_subsystem_where_the_figures_have_them() {
    let subsystem = "nqn.2000-02.com.mikrotik:x".parse().unwrap();
    let pdu = connect(0x0102, &host(), &subsystem, Duration::from_secs(120));
    // Command capsule, header of 72 bytes, data behind it, 72 + 1024 bytes in all.
    assert_eq!(pdu[..8], [4, 0, 72, 72, 0x48, 4, 0, 0]);
    let command = &pdu[8..72];
    assert_eq!(command[..5], [0x7f, 0x40, 2, 1, 1]);
    assert_eq!(command[5..24], [0; 19]);
    // SGL: offset 0, 1024 bytes, data block by offset.
    assert_eq!(command[24..32], [0; 8]);
    assert_eq!(command[32..40], [0, 4, 0, 0, 0, 0, 0, 1]);
    // Format, queue 0, 31, attributes, reserved, 120,000 ms.
    assert_eq!(command[40..52], [0, 0, 0, 0, 31, 0, 0, 0, 0xc0, 0xd4, 1, 0]);
    assert_eq!(command[52..], [0; 12]);
    let data = &pdu[72..];
    assert_eq!(data.len(), 1024);
    assert_eq!(data[..16], *host().id.as_bytes());
    assert_eq!(data[16..18], [0xff, 0xff]);
    assert_eq!(data[18..256], [0; 238]);
    let text = |range: std::ops::Range<usize>| {
        let text = std::str::from_utf8(&data[range]).unwrap();
        text.trim_end_matches('\0').to_owned()
    };
    assert_eq!(text(256..512), subsystem.to_string());
    assert_eq!(text(512..768), host().nqn.to_string());
    assert_eq!(data[768..], [0; 256]);
}

#[test]
fn the_longest_name_has_a_zero_behind_it() {
    let subsystem: Nqn = format!("nqn.2000-02.com:{}", "a".repeat(207))
        .parse()
        .unwrap();
    let pdu = connect(0, &host(), &subsystem, Duration::ZERO);
    assert_eq!(
        pdu[72 + 256..72 + 256 + 223],
        *subsystem.as_str().as_bytes()
    );
    assert_eq!(pdu[72 + 256 + 223..72 + 512], [0; 33]);
}

#[test]
fn a_session_is_asked_for_its_status() {
    let pdu = property_get(7);
    assert_eq!(pdu[..8], [4, 0, 72, 0, 72, 0, 0, 0]);
    assert_eq!(pdu.len(), 72);
    assert_eq!(pdu[8..13], [0x7f, 0x40, 7, 0, 4]);
    assert_eq!(pdu[8 + 39], 0x5a);
    // Four bytes, at 1Ch.
    assert_eq!(pdu[8 + 40..8 + 48], [0, 0, 0, 0, 0x1c, 0, 0, 0]);
    assert_eq!(pdu[8 + 48..], [0; 16]);
}

#[test]
fn answers_are_read_and_what_is_none_is_refused() {
    let mut opened = vec![1, 0, 128, 0, 128, 0, 0, 0];
    opened.extend([0, 0, 0, 0, 0, 0, 2, 0]);
    opened.extend([0; 112]);
    assert_eq!(read(&opened), Ok(Pdu::Initialized));
    for (place, what) in [(8, "version"), (10, "alignment"), (11, "digests")] {
        let mut pdu = opened.clone();
        pdu[place] = 3;
        assert_eq!(read(&pdu), Err(unexpected(what, 3)));
    }
    let status = |status| match read(&response(9, status)).unwrap() {
        Pdu::Done { id: 9, status } => status,
        other => panic!("{other:?}"),
    };
    assert!(status(0).is_success());
    // Do not retry, command specific, Connect Invalid Host: what nvmet says.
    let refused = status(0x4184);
    assert!(refused.is_host_refused() && !refused.is_success());
    assert_eq!(refused.to_string(), "invalid host (0x184)");
    let unknown = status(0x4182);
    assert!(!unknown.is_host_refused() && !unknown.is_success());
    let mut ended = vec![3, 0, 24, 0, 24, 0, 0, 0];
    ended.extend([0; 16]);
    assert_eq!(read(&ended), Ok(Pdu::Terminated));
    assert_eq!(
        read(&response(9, 0)[..23]),
        Err(unexpected("length", 23)),
        "cut short"
    );
}

proptest! {
    /// Whatever a target sends, no more is read than the longest PDU has, and nothing panics.
    #[test]
    fn no_bytes_make_it_read_much(start: [u8; HEADER], rest in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(length) = length(&start) {
            prop_assert!((HEADER..=152).contains(&length));
            let mut pdu = start.to_vec();
            pdu.extend(&rest);
            pdu.resize(length, 0);
            prop_assert!(read(&pdu).is_ok() || start[0] == INITIALIZE_RESPONSE);
        }
        let _ = read(&rest);
    }
}
