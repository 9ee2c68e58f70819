//! The task that owns the connection.

use std::sync::Arc;

use rds_csi_core::kind::Chain;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::ConnectError;
use super::backoff::Backoff;
use super::link::Link;
use super::probe::{self, Device, OLDEST_VERSION, ProbeError, Version};
use super::queue::{Job, Queue};
use super::session::{self, Ran, Session};
use crate::command::{Dialect, Script};
use crate::config::RdsConfig;
use crate::console::{ConsoleError, Output};

/// The task's state.
pub(super) struct Task {
    config: RdsConfig,
    device: String,
    receiver: mpsc::Receiver<Job>,
    queue: Queue,
    link: Link,
    token: CancellationToken,
    open: Option<(Session, Device)>,
    backoff: Backoff,
    last_error: Option<Arc<ConnectError>>,
    /// Whether to connect without being asked: until the first success after a start, a
    /// failure, or the end of a session.
    restless: bool,
    opened: u64,
    described: Option<Device>,
}

impl Task {
    pub(super) fn new(
        config: RdsConfig,
        receiver: mpsc::Receiver<Job>,
        link: Link,
        token: CancellationToken,
    ) -> Self {
        Self {
            device: config.address.to_string(),
            config,
            receiver,
            queue: Queue::default(),
            link,
            token,
            open: None,
            backoff: Backoff::default(),
            last_error: None,
            restless: true,
            opened: 0,
            described: None,
        }
    }

    /// Runs until the token is cancelled or the console is dropped.
    pub(super) async fn run(mut self) {
        loop {
            while let Ok(job) = self.receiver.try_recv() {
                self.queue.push(job);
            }
            if self.token.is_cancelled() {
                break;
            }
            match self.queue.pop() {
                Some(job) => self.serve(job).await,
                None if self.idle().await => {}
                None => break,
            }
        }
        if let Some((session, _)) = self.open.take() {
            session.close().await;
        }
    }

    /// Waits for a command or for the next attempt to connect; false is the end.
    async fn idle(&mut self) -> bool {
        let connects = self.restless && self.open.is_none();
        let due = self.backoff.due().unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            () = self.token.cancelled() => false,
            job = self.receiver.recv() => match job {
                Some(job) => {
                    self.queue.push(job);
                    true
                }
                None => false,
            },
            () = self.link.end(), if self.open.is_some() => {
                self.forget_ended();
                true
            }
            () = sleep_until(due), if connects => {
                // The failure is kept for whoever asks next.
                drop(self.connected().await);
                true
            }
        }
    }

    /// Lets go of a session that ended by itself, and sets when the next is opened. Not at
    /// once: a device that ends every session would be asked without end.
    fn forget_ended(&mut self) {
        if !self.link.state().connected {
            self.open = None;
            self.rest();
        }
    }

    fn rest(&mut self) {
        self.restless = true;
        self.backoff.wait(self.config.idle_reconnect);
    }

    async fn serve(&mut self, job: Job) {
        let result = self.exec(&job.script).await;
        if let Err(error) = &result
            && error.was_sent()
        {
            tracing::warn!(device = %self.device, error = %Chain(error), "closing the connection");
            self.close().await;
        }
        // Without a caller the outcome still happened; the next reading shows it.
        drop(job.reply.send(result));
    }

    async fn exec(&mut self, script: &Script) -> Result<Output, ConsoleError> {
        let (channel, dialect) = self.channel().await?;
        let text = script.text(dialect);
        let began = Instant::now();
        let limit = self.config.output_limit;
        let after = self.config.command_timeout;
        let device = || self.device.clone();
        match timeout(after, session::run(channel, &text, limit)).await {
            Ok(Ran::Whole(output)) => Ok(Output {
                text: String::from_utf8_lossy(&output).into_owned(),
                dialect,
                began,
            }),
            Ok(Ran::Lost(reason)) => Err(ConsoleError::Lost {
                device: device(),
                reason,
            }),
            Ok(Ran::TooMuch) => Err(ConsoleError::TooMuchOutput {
                device: device(),
                limit,
            }),
            Err(_) => Err(ConsoleError::Deadline {
                device: device(),
                after,
            }),
        }
    }

    /// A channel on the open session, or on a new one where that turns out to be dead:
    /// until the channel is open, nothing was sent.
    async fn channel(&mut self) -> Result<(Channel, Dialect), ConsoleError> {
        if let Some((session, device)) = &self.open
            && !session.is_over()
            && let Ok(Ok(channel)) = timeout(self.config.connect_timeout, session.channel()).await
        {
            return Ok((channel, device.dialect));
        }
        self.close().await;
        self.connected().await?;
        let reason = match &self.open {
            Some((session, device)) => {
                match timeout(self.config.connect_timeout, session.channel()).await {
                    Ok(Ok(channel)) => return Ok((channel, device.dialect)),
                    Ok(Err(reason)) => reason,
                    Err(_) => "no channel was opened in time".to_owned(),
                }
            }
            None => "the session ended".to_owned(),
        };
        self.close().await;
        Err(self.no_session(ConnectError::Protocol { reason }))
    }

    async fn close(&mut self) {
        if let Some((session, _)) = self.open.take() {
            session.close().await;
            self.link.ended(self.opened);
            self.rest();
        }
    }

    /// Opens a session unless the last attempt failed too recently.
    async fn connected(&mut self) -> Result<(), ConsoleError> {
        if let (Some(retry_in), Some(source)) = (self.backoff.left(), &self.last_error) {
            return Err(ConsoleError::NoSession {
                device: self.device.clone(),
                retry_in,
                source: Arc::clone(source),
            });
        }
        let number = self.opened + 1;
        let attempt = timeout(self.config.connect_timeout, self.attempt(number));
        let result = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(ConsoleError::ShutDown { device: self.device.clone() }),
            result = attempt => result,
        };
        match result {
            Ok(Ok((session, device))) => {
                self.opened = number;
                self.link.opened(&device.version);
                if session.is_over() {
                    self.link.ended(number);
                }
                self.describe(&device);
                self.backoff.reset();
                self.last_error = None;
                self.restless = false;
                self.open = Some((session, device));
                Ok(())
            }
            Ok(Err(error)) => Err(self.no_session(error)),
            Err(_) => Err(self.no_session(ConnectError::Deadline(self.config.connect_timeout))),
        }
    }

    /// Notes a failed attempt and sets the next one.
    fn no_session(&mut self, error: ConnectError) -> ConsoleError {
        let retry_in = self.backoff.fail();
        let text = Chain(&error).to_string();
        if self.link.state().last_error.as_deref() == Some(&text) {
            tracing::debug!(device = %self.device, error = %text, "still no session");
        } else {
            tracing::warn!(device = %self.device, error = %text, "no session");
        }
        self.link.failed(text);
        self.restless = true;
        let source = Arc::new(error);
        self.last_error = Some(Arc::clone(&source));
        ConsoleError::NoSession {
            device: self.device.clone(),
            retry_in,
            source,
        }
    }

    fn describe(&mut self, device: &Device) {
        if self.described.as_ref() == Some(device) {
            tracing::debug!(device = %self.device, "connected again");
        } else {
            tracing::info!(device = %self.device, version = %device.version, dialect = ?device.dialect, "connected");
            self.described = Some(device.clone());
        }
    }

    /// One attempt: session, version, language.
    async fn attempt(&self, number: u64) -> Result<(Session, Device), ConnectError> {
        let session = Session::open(&self.config, self.link.clone(), number).await?;
        let device = match self.ask(&session, probe::first_script()).await? {
            Some(device) => Some(device),
            None => self.ask(&session, probe::second_script()).await?,
        };
        let device = device.ok_or_else(|| ConnectError::Protocol {
            reason: "the console understands no command".to_owned(),
        })?;
        let old = Version::read(&device.version).is_none_or(|version| version < OLDEST_VERSION);
        if old && !self.config.allow_old_version {
            session.close().await;
            return Err(ConnectError::TooOld {
                version: device.version,
            });
        }
        Ok((session, device))
    }

    async fn ask(&self, session: &Session, script: Script) -> Result<Option<Device>, ConnectError> {
        let lost = |reason| ConnectError::Probe {
            source: ConsoleError::Lost {
                device: self.device.clone(),
                reason,
            },
        };
        let channel = session.channel().await.map_err(lost)?;
        let limit = self.config.output_limit;
        let output = match session::run(channel, &script.text(Dialect::Json), limit).await {
            Ran::Whole(output) => output,
            Ran::Lost(reason) => return Err(lost(reason)),
            Ran::TooMuch => return Err(lost("it printed without end".to_owned())),
        };
        let text = String::from_utf8_lossy(&output);
        probe::read(&text, &script).map_err(|error| match error {
            ProbeError::Reply(source) => ConnectError::Version { source },
            ProbeError::Complaint { message, kind } => ConnectError::Complaint { message, kind },
        })
    }
}

type Channel = russh::Channel<russh::client::Msg>;
