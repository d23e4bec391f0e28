//! What a line of the table is to reach, and whether it does.

use std::fmt;

/// A bound on what is found, or on how it stands to its yardstick; the median counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Only to be known.
    None,
    /// In the line's unit.
    AtLeast(f64),
    /// In the line's unit.
    AtMost(f64),
    /// Of the yardstick.
    RatioAtLeast(f64),
    /// More than the yardstick by so much, in the line's unit.
    AboveByAtMost(f64),
}

impl Goal {
    /// Returns whether this is reached; nothing where there is no goal, or no yardstick for it.
    pub(super) fn is_met(
        self,
        found: f64,
        ratio: Option<f64>,
        beside: Option<f64>,
    ) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtLeast(least) => Some(found >= least),
            Self::AtMost(most) => Some(found <= most),
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Self::AboveByAtMost(most) => beside.map(|beside| found - beside <= most),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::RatioAtLeast(least) => write!(f, ">= {least} of it"),
            Self::AboveByAtMost(most) => write!(f, "<= it + {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_held_against_what_it_speaks_of() {
        let met = |goal: Goal| goal.is_met(90.0, Some(0.9), Some(100.0));
        for (goal, expected) in [
            (Goal::None, None),
            (Goal::AtLeast(90.0), Some(true)),
            (Goal::AtLeast(91.0), Some(false)),
            (Goal::AtMost(90.0), Some(true)),
            (Goal::AtMost(89.0), Some(false)),
            (Goal::RatioAtLeast(0.9), Some(true)),
            (Goal::RatioAtLeast(0.95), Some(false)),
            (Goal::AboveByAtMost(-10.0), Some(true)),
            (Goal::AboveByAtMost(-11.0), Some(false)),
        ] {
            assert_eq!(met(goal), expected, "{goal:?}");
        }
        assert_eq!(Goal::RatioAtLeast(0.5).is_met(1.0, None, None), None);
    }
}
