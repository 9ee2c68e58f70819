//! Taking steps and reading the volume back.

use rds_csi_core::appliance::{Step, VolumeState};
use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;

use super::{RosClient, readings, unwritable, volume_state};
use crate::command::{Command, QuoteError, Script};
use crate::console::{Console, Output};
use crate::error::{AnswerError, RdsError, Refusal, word};
use crate::failure::Complaint;
use crate::reply::Answer;

/// What the steps are for.
struct Change<'a> {
    id: &'a VolumeId,
    file: &'a BackingFile,
    steps: &'a [Step],
}

impl Change<'_> {
    fn words(&self) -> String {
        let words: Vec<&str> = self.steps.iter().map(word).collect();
        words.join(", ")
    }

    fn script(&self, owner: Option<&Owner>) -> Result<Script, QuoteError> {
        let mut owner = owner;
        let mut commands = Vec::new();
        for step in self.steps {
            if let Step::Add { owner: of_item, .. } = step {
                owner = Some(of_item);
            }
            commands.push(Command::of(step, self.id, self.file, owner)?);
        }
        Ok(Script::new(commands, readings(self.id, self.file)?))
    }
}

/// What an answer to a change proves.
enum Outcome {
    /// The steps were taken and this is the volume.
    Taken(VolumeState),
    /// This step was refused; the state is there if the console went on to show it.
    Refused {
        index: usize,
        complaint: Complaint,
        state: Option<VolumeState>,
    },
}

impl<C: Console> RosClient<C> {
    pub(super) async fn take_steps(
        &self,
        id: &VolumeId,
        file: &BackingFile,
        owner: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError> {
        let change = Change { id, file, steps };
        let script = change
            .script(owner)
            .map_err(|source| unwritable(&change.words(), source))?;
        let output = match self.console.exec(script.clone(), Some(id.as_str())).await {
            Ok(output) => output,
            Err(source) if source.was_sent() => return Err(self.unknown(&change, source)),
            Err(source) => {
                return Err(RdsError::NotSent {
                    id: id.clone(),
                    steps: change.words(),
                    device: self.console.device().to_owned(),
                    source,
                });
            }
        };
        match outcome(&output, &script, &change) {
            Ok(Outcome::Taken(state)) => Ok(state),
            Ok(Outcome::Refused {
                index,
                complaint,
                state,
            }) => Err(self.refused(&change, index, complaint, state).await),
            Err(source) => Err(self.unknown(&change, source)),
        }
    }

    /// The refusal with the state after it, read now unless it was shown already.
    async fn refused(
        &self,
        change: &Change<'_>,
        index: usize,
        complaint: Complaint,
        state: Option<VolumeState>,
    ) -> RdsError {
        let state = match state {
            Some(state) => state,
            None => match self.read_volume(change.id, change.file).await {
                Ok(state) => state,
                Err(RdsError::Read { source, .. }) => return self.unknown(change, source),
                Err(other) => return other,
            },
        };
        RdsError::Refused(Box::new(Refusal {
            device: self.console.device().to_owned(),
            id: change.id.clone(),
            step: change.steps[index].clone(),
            index,
            message: complaint.message,
            kind: complaint.kind,
            state,
        }))
    }

    fn unknown(&self, change: &Change<'_>, source: impl Into<AnswerError>) -> RdsError {
        RdsError::OutcomeUnknown {
            id: change.id.clone(),
            steps: change.words(),
            device: self.console.device().to_owned(),
            source: source.into(),
        }
    }
}

fn outcome(output: &Output, script: &Script, change: &Change<'_>) -> Result<Outcome, AnswerError> {
    let answer = Answer::read(&output.text, script)?;
    let state = |texts: &[String]| volume_state(texts, output.dialect, change.id, change.file);
    if let Some((index, complaint)) = answer.refused_step() {
        let state = answer.readings().ok().and_then(|texts| state(texts).ok());
        return Ok(Outcome::Refused {
            index,
            complaint,
            state,
        });
    }
    if let Some(complaint) = answer.complaint() {
        return Err(AnswerError::Complaint {
            message: complaint.message,
            kind: complaint.kind,
        });
    }
    state(answer.readings()?).map(Outcome::Taken)
}
