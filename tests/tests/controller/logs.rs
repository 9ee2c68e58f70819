//! What the log shows, at its most detailed: enough to follow a volume, and no secret.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use csi_proto::v1::{DeleteVolumeRequest, ListVolumesRequest};
use rds_csi_tests::volume::Claim;
use rds_sim::{Options, Sim};
use tonic::Code;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{GIB, NAME, Setup, World, code, write_key};

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Of this thread, on which all of a test runs, from now until the guards go.
    fn start() -> (Self, (tracing::subscriber::DefaultGuard, Dispatch)) {
        let log = Self::default();
        // With one subscriber alone tracing asks that of the thread that comes to a message
        // first, and remembers: another test's thread has none, and the message would be
        // off for all. With two it asks both.
        let second = Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .finish();
        (log, (tracing::subscriber::set_default(subscriber), second))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn secrets() -> HashMap<String, String> {
    HashMap::from([("password".to_owned(), "hunter2-of-the-claim".to_owned())])
}

/// Calls with secrets, good and bad ones.
async fn calls(world: &World) {
    let mut request = Claim::block(NAME, 64).request();
    request.secrets = secrets();
    let mut controller = world.plugin.controller();
    let created = controller.create_volume(request.clone()).await.unwrap();
    let id = created.into_inner().volume.unwrap().volume_id;
    request.name = "no name\n".to_owned();
    let refused = controller.create_volume(request).await;
    assert_eq!(code(refused), Code::InvalidArgument);
    let listed = ListVolumesRequest::default();
    controller.list_volumes(listed).await.unwrap();
    world.expand(&id, GIB, 0).await.unwrap();
    let request = DeleteVolumeRequest {
        volume_id: id,
        secrets: secrets(),
    };
    controller.delete_volume(request).await.unwrap();
}

#[tokio::test]
async fn no_secret_gets_into_the_most_detailed_log() {
    let (log, _guards) = Log::start();
    let world = World::new().await;
    calls(&world).await;
    // A key that is not let in, and a file that is none, are told at length.
    let stranger = Sim::start(Options::default()).await.unwrap();
    let strange = stranger.client_key().unwrap().to_owned();
    for content in [strange.clone(), format!("{strange}garbage")] {
        let key = content.clone();
        let setup = Setup::default().config(move |config| write_key(&config.rds.key_file, &key));
        let turned_away = setup.start().await;
        let claim = Claim::block(NAME, 64);
        assert_eq!(code(turned_away.create(&claim).await), Code::Unavailable);
    }

    let text = log.text();
    for told in [
        "volume made",
        "volume removed",
        "was rejected",
        "CreateVolume",
    ] {
        assert!(text.contains(told), "{told:?} is not in the log");
    }
    assert!(
        text.contains("\"level\":\"TRACE\""),
        "the log is not detailed"
    );
    assert!(!text.contains("hunter2") && !text.contains("PRIVATE"));
    let own = world.sim.client_key().unwrap();
    for key in [own, &strange] {
        for line in key.lines() {
            assert!(!text.contains(line), "a line of a key is in the log");
        }
    }
}
