//! How one try to deliver went.

use crate::types::Ms;

/// The channel accepted the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What the receiver said, for people: its status and id. No secret.
    pub detail: String,
    /// What to pass as [`super::SendCtx::previous`] next time, if the channel can replace.
    pub handle: Option<String>,
    /// Recipients that are to be tried again by themselves: the server takes nothing for them yet.
    pub deferred: Vec<String>,
}

impl Receipt {
    /// With what the receiver said.
    pub fn of(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            handle: None,
            deferred: Vec::new(),
        }
    }
}

/// The channel did not accept the event. `why` is for people, lower case, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Worth trying again with the same event id; it may have been delivered after all.
    #[error("{why}")]
    Passing {
        /// What happened.
        why: String,
        /// When the receiver wants to be asked again, from now.
        retry_after: Option<Ms>,
    },
    /// It was handed over and no answer came: it may have been delivered, and is tried again late.
    #[error("{why}")]
    Lost {
        /// What happened.
        why: String,
    },
    /// Retrying will not help: a person must change the configuration.
    #[error("{why}")]
    Permanent {
        /// What happened.
        why: String,
    },
}

impl SendError {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self::Passing {
            why: why.into(),
            retry_after: None,
        }
    }

    pub(super) fn permanent(why: impl Into<String>) -> Self {
        Self::Permanent { why: why.into() }
    }

    pub(super) fn why_mut(&mut self) -> &mut String {
        match self {
            Self::Passing { why, .. } | Self::Lost { why } | Self::Permanent { why } => why,
        }
    }

    /// What happened.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Passing { why, .. } | Self::Lost { why } | Self::Permanent { why } => why,
        }
    }
}
