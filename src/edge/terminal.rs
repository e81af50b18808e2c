//! Asking a person for something that must not be seen.

use std::collections::VecDeque;
use std::fmt;

use secrecy::SecretString;

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    #[error("there is no terminal to ask on ({0})")]
    NoTerminal(std::io::Error),
    #[error("nobody answered")]
    NoAnswer,
}

/// The port: asks one question and hides the answer.
pub trait Prompt {
    /// # Errors
    ///
    /// If there is nobody to ask.
    fn hidden(&mut self, question: &str) -> Result<SecretString, PromptError>;
}

/// The terminal of this process (`/dev/tty`, so that it works while standard input is a pipe).
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalPrompt;

impl Prompt for TerminalPrompt {
    fn hidden(&mut self, question: &str) -> Result<SecretString, PromptError> {
        rpassword::prompt_password(format!("{question}: "))
            .map(SecretString::from)
            .map_err(PromptError::NoTerminal)
    }
}

/// The double: gives prepared answers, and remembers what was asked.
#[derive(Default)]
pub struct ScriptedPrompt {
    answers: VecDeque<SecretString>,
    asked: Vec<String>,
}

impl ScriptedPrompt {
    pub fn new<'a>(answers: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            answers: answers.into_iter().map(SecretString::from).collect(),
            asked: Vec::new(),
        }
    }

    pub fn asked(&self) -> &[String] {
        &self.asked
    }
}

impl Prompt for ScriptedPrompt {
    fn hidden(&mut self, question: &str) -> Result<SecretString, PromptError> {
        self.asked.push(question.to_owned());
        self.answers.pop_front().ok_or(PromptError::NoAnswer)
    }
}

impl fmt::Debug for ScriptedPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptedPrompt(asked {:?})", self.asked)
    }
}
