//! A session with targets that answer well, badly or not at all.

use rstest::rstest;
use tokio::net::TcpListener;

use super::*;

const OPENED: [u8; 16] = [1, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];

fn opened() -> Vec<u8> {
    let mut pdu = OPENED.to_vec();
    pdu.resize(128, 0);
    pdu
}

fn done(id: u8, status: u16) -> Vec<u8> {
    let mut pdu = vec![5, 0, 24, 0, 24, 0, 0, 0];
    pdu.resize(20, 0);
    pdu.extend([id, 0]);
    pdu.extend((status << 1).to_le_bytes());
    pdu
}

/// Connects to a target that gives these answers, one to each PDU, and then closes.
async fn told(answers: Vec<Vec<u8>>) -> Result<Answer, SessionError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut start = [0; 8];
            stream.read_exact(&mut start).await.unwrap();
            let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
            let mut rest = vec![0; length as usize - 8];
            stream.read_exact(&mut rest).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
        stream.shutdown().await.unwrap();
    };
    let host = HostIdentity::of(&"lab".parse().unwrap(), "a");
    let subsystem = "nqn.2000-02.com.mikrotik:x".parse().unwrap();
    let (told, ()) = tokio::join!(connect(address, &host, &subsystem), target);
    told
}

#[tokio::test]
async fn a_host_is_let_in_and_its_session_lives_until_the_target_ends_it() {
    let answers = vec![opened(), done(0, 0)];
    let Answer::In(mut session) = told(answers).await.unwrap() else {
        panic!("not let in")
    };
    assert_eq!(session.pulse().await.unwrap(), Pulse::Ended);
    assert_eq!(session.pulse().await.unwrap(), Pulse::Ended);
}

#[rstest]
#[case::invalid_host(0x4184, true)]
#[case::no_such_subsystem(0x4182, false)]
#[tokio::test]
async fn a_refusal_says_why(#[case] status: u16, #[case] of_host: bool) {
    match told(vec![opened(), done(0, status)]).await.unwrap() {
        Answer::Refused(status) => assert_eq!(status.is_host_refused(), of_host),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_ends_is_no_yes() {
    let cut = opened()[..100].to_vec();
    for answers in [
        vec![],
        vec![opened()],
        vec![cut],
        vec![opened(), done(7, 0)],
    ] {
        let told = told(answers).await.unwrap();
        assert!(matches!(told, Answer::Ended), "{told:?}");
    }
}

#[tokio::test]
async fn what_speaks_something_else_is_no_answer() {
    let mut long = opened();
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    for answers in [vec![b"SSH-2.0-ROSSSH\r\n".to_vec()], vec![long]] {
        let told = told(answers).await.unwrap_err();
        assert!(matches!(told, SessionError::NotSpoken { .. }), "{told}");
    }
}

#[tokio::test]
async fn nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let host = HostIdentity::of(&"lab".parse().unwrap(), "a");
    let subsystem = "nqn.2000-02.com.mikrotik:x".parse().unwrap();
    let told = connect(address, &host, &subsystem).await.unwrap_err();
    assert!(matches!(told, SessionError::Unreachable { .. }), "{told}");
}
