//! The simulator as a console in memory: the same scripts, no connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rds_csi_routeros::command::{Dialect, Script};
use rds_csi_routeros::console::{Console, ConsoleError, Output};
use rds_csi_routeros::rds::LinkState;
use rds_sim::Model;
use tokio::time::Instant;

/// A console on a model. Clones are consoles of the same model.
#[derive(Debug, Clone)]
pub struct MemoryConsole {
    model: Arc<Mutex<Model>>,
    dialect: Dialect,
    scripts: Arc<Mutex<Vec<String>>>,
}

impl MemoryConsole {
    /// A console that is asked in one dialect.
    #[must_use]
    pub fn new(model: Model, dialect: Dialect) -> Self {
        Self {
            model: Arc::new(Mutex::new(model)),
            dialect,
            scripts: Arc::default(),
        }
    }

    /// The model itself.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every script that was run, oldest first.
    #[must_use]
    pub fn scripts(&self) -> Vec<String> {
        self.scripts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Console for MemoryConsole {
    async fn exec(&self, script: Script, _key: Option<&str>) -> Result<Output, ConsoleError> {
        let text = script.text(self.dialect);
        let began = Instant::now();
        let output = self.model().exec(&text);
        self.scripts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
        Ok(Output {
            text: output.text(),
            dialect: self.dialect,
            began,
        })
    }

    fn link(&self) -> LinkState {
        LinkState {
            connected: true,
            ..LinkState::default()
        }
    }

    fn device(&self) -> &str {
        "memory"
    }
}
