//! What is known of something that is switched by requests whose answers may be lost.

/// Whether something is so. A request without an answer leaves it in doubt until a later broker is asked: until the one that
/// got it has ended, it may still be done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    #[default]
    No,
    /// A request was sent; what held before it is still sure to be the only other case.
    Tried,
    /// Nothing is sure before the broker has ended.
    Doubt,
    /// The broker has ended: the next one is to be asked.
    Unasked,
}

impl Known {
    pub(crate) fn tried(&mut self) {
        *self = match self {
            Self::Yes | Self::No => Self::Tried,
            // Another request is on its way, or was.
            _ => Self::Doubt,
        };
    }

    pub(crate) fn answered(&mut self, is_so: bool) {
        if *self == Self::Tried {
            *self = if is_so { Self::Yes } else { Self::No };
        }
    }

    pub(crate) fn broker_has_ended(&mut self) {
        if matches!(self, Self::Tried | Self::Doubt) {
            *self = Self::Unasked;
        }
    }

    /// The broker was asked before anything was tried on it.
    pub(crate) fn found(&mut self, is_so: bool) -> Result<(), String> {
        let is_other = match self {
            Self::Yes => !is_so,
            Self::No => is_so,
            Self::Tried | Self::Doubt => return Ok(()),
            Self::Unasked => false,
        };
        if is_other {
            return Err(format!("{self:?} is sure, and {is_so} is said"));
        }
        *self = if is_so { Self::Yes } else { Self::No };
        Ok(())
    }
}
