//! The operations of an expression, and what they compute. PURE.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operation {
    Number(f64),
    Retried,
    One(Unary),
    Two(Binary),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Negate,
    Sqrt,
    Abs,
    Exp,
    Floor,
    Ceil,
    Round,
}

impl Unary {
    fn apply(self, x: f64) -> f64 {
        match self {
            Self::Negate => -x,
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Exp => x.exp(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Pow,
    Min,
    Max,
}

impl Binary {
    fn apply(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Add => x + y,
            Self::Subtract => x - y,
            Self::Multiply => x * y,
            Self::Divide => x / y,
            Self::Pow => x.powf(y),
            // Unlike `f64::min`, no number stays none: a senseless part makes the whole senseless.
            Self::Min | Self::Max if x.is_nan() || y.is_nan() => f64::NAN,
            Self::Min => x.min(y),
            Self::Max => x.max(y),
        }
    }
}

/// Computes a list of operations on a stack.
pub(super) fn compute(operations: &[Operation], retried: f64) -> f64 {
    let mut stack = Vec::new();
    for operation in operations {
        // The parser puts operands before what takes them; were one missing, the result would be no number.
        let mut operand = || stack.pop().unwrap_or(f64::NAN);
        let result = match *operation {
            Operation::Number(number) => number,
            Operation::Retried => retried,
            Operation::One(function) => function.apply(operand()),
            Operation::Two(function) => {
                let right = operand();
                function.apply(operand(), right)
            }
        };
        stack.push(result);
    }
    stack.pop().unwrap_or(f64::NAN)
}
