//! Faults in a random order from a seed, for some seconds here and for as long as one likes by
//! `hack/soak`: nothing is lost, and nothing grows.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::harm::Harm;
use super::matrix::Matrix;

/// `SECONDS` or `SECONDS:SEED`, in the environment.
const SOAK: &str = "RDS_CSI_SOAK";
const SECONDS: u64 = 20;
/// One a second; a thread without work ends after ten.
const LOOKS: u32 = 20;

/// How often volumes may grow, and a machine be booted, in one run: the one fills the pool,
/// the other takes addresses.
const GROWN: u32 = 4;
const TWINS: u32 = 4;

/// SplitMix64: small, and the same numbers everywhere.
struct Dice {
    state: u64,
    grown: u32,
    twins: u32,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            state: seed,
            grown: 0,
            twins: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn harm(&mut self, multipath: bool) -> Harm {
        match self.below(11) {
            0 => Harm::LinkCut(Duration::from_millis(200 + self.below(3000))),
            1 => Harm::LinkCut(Duration::from_millis(9000 + self.below(9000))),
            2 => Harm::TargetRestart,
            3 => Harm::LatePool,
            4 => Harm::ExportsRemoved,
            5 if !multipath => Harm::NamesSwapped,
            6 => Harm::HostRefused,
            7 => Harm::PluginKilled,
            8 if self.grown < GROWN => {
                self.grown += 1;
                Harm::Grow
            }
            9 if self.twins < TWINS => {
                self.twins += 1;
                Harm::Twin
            }
            _ => Harm::PowerCut,
        }
    }
}

fn plan() -> (Duration, u64) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let asked = std::env::var(SOAK).unwrap_or_else(|_| SECONDS.to_string());
    let (seconds, seed) = match asked.split_once(':') {
        Some((seconds, seed)) => (seconds, seed.parse().unwrap()),
        None => (asked.as_str(), u64::from(now.subsec_nanos())),
    };
    (Duration::from_secs(seconds.parse().unwrap()), seed)
}

/// What the plugin holds, and the system for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    files: usize,
    /// Threads: the fewest of many looks, as one that had work ends some time later.
    tasks: usize,
    mounts: usize,
    controllers: usize,
}

impl Matrix {
    async fn held(&self) -> Held {
        let looks = format!(
            "p={}
             for i in $(seq {LOOKS}); do ls /proc/$p/task | wc -l; sleep 1; done | sort -n | head -1
             ls /proc/$p/fd | wc -l; wc -l </proc/self/mountinfo; ls /sys/class/nvme | wc -l",
            self.cluster.node().process.process().pid()
        );
        let counts = self.cluster.node().script(&looks).await;
        let counts: Vec<usize> = counts.lines().map(|line| line.parse().unwrap()).collect();
        let [tasks, files, mounts, controllers] = counts[..] else {
            panic!("{counts:?}");
        };
        Held {
            files,
            tasks,
            mounts,
            controllers,
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_grows_under_faults_at_random() {
    let (length, seed) = plan();
    println!("{SOAK}={}:{seed}", length.as_secs());
    let mut dice = Dice::new(seed);
    let multipath = dice.below(2) == 0;
    let mut matrix = Matrix::begin(multipath).await;
    // The first faults bring the plugin to all that it ever holds.
    matrix.meet(&Harm::PluginKilled).await;
    matrix.meet(&Harm::ExportsRemoved).await;
    let before = matrix.held().await;
    let began = Instant::now();
    while began.elapsed() < length {
        let harm = dice.harm(multipath);
        println!("after {} s: {harm:?}", began.elapsed().as_secs());
        matrix.meet(&harm).await;
    }
    // Equal and not less: what is missing would be grown again.
    matrix.meet(&Harm::ExportsRemoved).await;
    assert_eq!(matrix.held().await, before);
    matrix.end().await;
}
