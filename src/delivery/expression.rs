//! The language of `Upstash-Retry-Delay`: how many milliseconds to wait before a retry, as a function of `retried`. PURE.
//!
//! | rule | is |
//! |---|---|
//! | sum | product { (`+` or `-`) product } |
//! | product | factor { (`*` or `/`) factor } |
//! | factor | `-` factor, or a number, or `retried`, or `(` sum `)`, or a function: name `(` sum { `,` sum } `)` |
//! | number | decimal digits, at most one `.` among them; no sign and no exponent |
//! | function | of one argument `sqrt` `abs` `exp` `floor` `ceil` `round`; of two `pow` `min` `max` |
//!
//! Blanks may stand between all of them. `round` rounds halves away from zero. Everything is a 64-bit float, so nothing
//! fails when it is computed: what makes no sense (a division by zero, the root of a negative number) becomes an infinity
//! or no number, and [`Expression::delay_ms`] gives no delay for it.
//!
//! An expression is kept as a list of operations on a stack. Each operation takes at least a byte of text, so the length
//! bounds their number, and computing takes no recursion.

use std::fmt;

use super::DAY_MS;

/// Longest expression, in bytes: a formula that a person still reads.
pub const EXPRESSION_BYTES_MAX: usize = 512;
/// Deepest nesting of parentheses, functions and signs: it bounds the parser's recursion.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

const VARIABLE: &str = "retried";
const DAY_MS_FLOAT: f64 = 86_400_000.0;
const _: () = assert!(DAY_MS == 86_400_000);

/// A retry delay that can be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    operations: Vec<Operation>,
}

/// Why a text is no expression. Places are counted in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// There is too much of it.
    #[error("the retry delay has {bytes} bytes, it may have {EXPRESSION_BYTES_MAX}")]
    TooLong {
        /// How many bytes there are.
        bytes: usize,
    },
    /// Parentheses, functions or signs stand too deep in each other.
    #[error(
        "the retry delay {text:?} is nested too deep at place {place}, it may be nested {EXPRESSION_DEPTH_MAX} times"
    )]
    TooDeep {
        /// The expression.
        text: String,
        /// Where it becomes too deep.
        place: usize,
    },
    /// Something stands where something else belongs.
    #[error("the retry delay {text:?} has {found} at place {place}, {expected} would be right")]
    Unexpected {
        /// The expression.
        text: String,
        /// Where.
        place: usize,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A name means nothing.
    #[error(
        "the retry delay {text:?} has the name {name:?} at place {place}, there are only the variable retried and the functions pow, sqrt, abs, exp, floor, ceil, round, min and max"
    )]
    UnknownName {
        /// The expression.
        text: String,
        /// Where.
        place: usize,
        /// The name.
        name: String,
    },
    /// A function has too few or too many arguments.
    #[error(
        "the retry delay {text:?} gives {function} at place {place} {found} arguments, it takes {expected}"
    )]
    ArgumentCount {
        /// The expression.
        text: String,
        /// Where the function's name begins.
        place: usize,
        /// The function's name.
        function: &'static str,
        /// How many arguments there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// The [`ExpressionError`] that was met first.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong { bytes: text.len() });
        }
        let mut parser = Parser::new(text);
        parser.advance();
        parser.sum()?;
        match parser.token {
            Token::End => Ok(Self {
                text: text.to_owned(),
                operations: parser.operations,
            }),
            _ => Err(parser.unexpected("an operator or the end")),
        }
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Computes the delay before a retry in whole milliseconds, rounded down and at most a day. `retried` is 0 for the
    /// first retry. Returns `None` for what is no time to wait: no number, an infinity, a negative number.
    #[must_use]
    pub fn delay_ms(&self, retried: u32) -> Option<u64> {
        let delay = self.value(f64::from(retried));
        if !delay.is_finite() || delay < 0.0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a number from 0 to a day"
        )]
        let whole = delay.min(DAY_MS_FLOAT) as u64;
        Some(whole)
    }

    fn value(&self, retried: f64) -> f64 {
        let mut stack = Vec::new();
        for operation in &self.operations {
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
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Number(f64),
    Retried,
    One(Unary),
    Two(Binary),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unary {
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
enum Binary {
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

const FUNCTIONS: [(&str, Operation); 9] = [
    ("pow", Operation::Two(Binary::Pow)),
    ("sqrt", Operation::One(Unary::Sqrt)),
    ("abs", Operation::One(Unary::Abs)),
    ("exp", Operation::One(Unary::Exp)),
    ("floor", Operation::One(Unary::Floor)),
    ("ceil", Operation::One(Unary::Ceil)),
    ("round", Operation::One(Unary::Round)),
    ("min", Operation::Two(Binary::Min)),
    ("max", Operation::Two(Binary::Max)),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(f64),
    Name(&'a str),
    Symbol(char),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// What stands behind the token.
    rest: &'a str,
    token: Token<'a>,
    /// The token as it is written.
    written: &'a str,
    /// Where the token begins.
    place: usize,
    depth: usize,
    operations: Vec<Operation>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            rest: text,
            token: Token::End,
            written: "",
            place: 1,
            depth: 0,
            operations: Vec::new(),
        }
    }

    /// Takes the next token.
    fn advance(&mut self) {
        let start = self.rest.trim_start();
        let blanks = self.rest.chars().count() - start.chars().count();
        self.place += self.written.chars().count() + blanks;
        let belongs: fn(char) -> bool = match start.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => |c| c.is_ascii_digit() || c == '.',
            Some(c) if is_name(c) => is_name,
            _ => |_| false,
        };
        let first_bytes = start.chars().next().map_or(0, char::len_utf8);
        let bytes = start.find(|c| !belongs(c)).unwrap_or(start.len());
        let (written, rest) = start
            .split_at_checked(bytes.max(first_bytes))
            .unwrap_or((start, ""));
        self.token = match written.chars().next() {
            None => Token::End,
            Some(c) if is_name(c) && !c.is_ascii_digit() => Token::Name(written),
            Some(c) => written.parse().map_or(Token::Symbol(c), Token::Number),
        };
        (self.written, self.rest) = (written, rest);
    }

    fn sum(&mut self) -> Result<(), ExpressionError> {
        self.product()?;
        loop {
            let operation = match self.token {
                Token::Symbol('+') => Binary::Add,
                Token::Symbol('-') => Binary::Subtract,
                _ => return Ok(()),
            };
            self.advance();
            self.product()?;
            self.operations.push(Operation::Two(operation));
        }
    }

    fn product(&mut self) -> Result<(), ExpressionError> {
        self.factor()?;
        loop {
            let operation = match self.token {
                Token::Symbol('*') => Binary::Multiply,
                Token::Symbol('/') => Binary::Divide,
                _ => return Ok(()),
            };
            self.advance();
            self.factor()?;
            self.operations.push(Operation::Two(operation));
        }
    }

    fn factor(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(ExpressionError::TooDeep {
                text: self.text.to_owned(),
                place: self.place,
            });
        }
        match self.token {
            Token::Symbol('-') => {
                self.advance();
                self.factor()?;
                self.operations.push(Operation::One(Unary::Negate));
            }
            Token::Symbol('(') => {
                self.advance();
                self.sum()?;
                self.close("an operator or ')'")?;
            }
            Token::Number(number) => self.operand(Operation::Number(number)),
            Token::Name(VARIABLE) => self.operand(Operation::Retried),
            Token::Name(name) => self.function(name)?,
            Token::Symbol(_) | Token::End => {
                return Err(self.unexpected("a number, retried, a function, '-' or '('"));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn operand(&mut self, operation: Operation) {
        self.operations.push(operation);
        self.advance();
    }

    fn function(&mut self, name: &str) -> Result<(), ExpressionError> {
        let place = self.place;
        let Some(&(function, operation)) = FUNCTIONS.iter().find(|(known, _)| *known == name)
        else {
            return Err(ExpressionError::UnknownName {
                text: self.text.to_owned(),
                place,
                name: name.to_owned(),
            });
        };
        self.advance();
        if self.token != Token::Symbol('(') {
            return Err(self.unexpected("'(' after the function's name"));
        }
        self.advance();
        let mut found = 0;
        if self.token != Token::Symbol(')') {
            self.sum()?;
            found = 1;
            while self.token == Token::Symbol(',') {
                self.advance();
                self.sum()?;
                found += 1;
            }
        }
        self.close("an operator, ',' or ')'")?;
        let expected = match operation {
            Operation::Two(_) => 2,
            _ => 1,
        };
        if found != expected {
            return Err(ExpressionError::ArgumentCount {
                text: self.text.to_owned(),
                place,
                function,
                found,
                expected,
            });
        }
        self.operations.push(operation);
        Ok(())
    }

    fn close(&mut self, expected: &'static str) -> Result<(), ExpressionError> {
        if self.token != Token::Symbol(')') {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let found = match self.token {
            Token::End => "its end".to_owned(),
            _ => format!("{:?}", self.written),
        };
        ExpressionError::Unexpected {
            text: self.text.to_owned(),
            place: self.place,
            found,
            expected,
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, retried: u32) -> f64 {
        Expression::parse(text).unwrap().value(f64::from(retried))
    }

    fn delays(text: &str) -> [Option<u64>; 4] {
        let expression = Expression::parse(text).unwrap();
        [0, 1, 2, 3].map(|retried| expression.delay_ms(retried))
    }

    fn told(text: &str) -> String {
        Expression::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_examples_give_the_documented_delays() {
        for (text, expected) in [
            ("1000", [1000, 1000, 1000, 1000]),
            ("1000 * (1 + retried)", [1000, 2000, 3000, 4000]),
            ("pow(2, retried) * 1000", [1000, 2000, 4000, 8000]),
            ("max(1000, pow(2, retried) * 100)", [1000; 4]),
            ("max(10, pow(2, retried))", [10, 10, 10, 10]),
        ] {
            assert_eq!(delays(text), expected.map(Some), "{text}");
        }
    }

    #[test]
    fn operators_bind_as_in_school() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("100 / 10 / 2", 5.0),
            ("2 * 12 / 8", 3.0),
            ("-2 * -3", 6.0),
            ("--2", 2.0),
            ("1 - -1", 2.0),
            ("-(1 + 2)", -3.0),
            ("-pow(2, 2)", -4.0),
            (" 1.5+.5 + 2. ", 4.0),
            ("retried", 7.0),
        ] {
            assert_eq!(value(text, 7).to_bits(), f64::to_bits(expected), "{text}");
        }
    }

    #[test]
    fn functions_compute_what_their_names_say() {
        for (text, expected) in [
            ("pow(2, 10)", 1024.0),
            ("sqrt(9)", 3.0),
            ("abs(-4)", 4.0),
            ("exp(0)", 1.0),
            ("floor(1.9)", 1.0),
            ("ceil(1.1)", 2.0),
            ("round(1.5)", 2.0),
            ("round(-2.5)", -3.0),
            ("min(1, 2)", 1.0),
            ("max(1, 2)", 2.0),
            ("min(max(retried, 3), 5)", 5.0),
        ] {
            assert_eq!(value(text, 7).to_bits(), f64::to_bits(expected), "{text}");
        }
        assert!((value("exp(1)", 0) - std::f64::consts::E).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_time_to_wait_gives_none_and_what_is_too_long_a_day() {
        for text in [
            "0 / 0",
            "1 / 0",
            "-1 / 0",
            "-1",
            "-0.5",
            "sqrt(-1)",
            "exp(1000)",
            "min(1, sqrt(-1))",
            "max(sqrt(-1), 1)",
            &"9".repeat(400),
        ] {
            assert_eq!(delays(text), [None; 4], "{text}");
        }
        assert_eq!(delays("86400001"), [Some(DAY_MS); 4]);
        assert_eq!(delays("pow(10, 300)"), [Some(DAY_MS); 4]);
        assert_eq!(
            delays("86400000 - retried"),
            [0, 1, 2, 3].map(|n| Some(DAY_MS - n))
        );
        assert_eq!(delays("0.999"), [Some(0); 4]);
        assert_eq!(delays("-0"), [Some(0); 4]);
        assert_eq!(
            delays("1 / retried"),
            [None, Some(1), Some(0), Some(0)],
            "only the first retry divides by zero"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, place, found, expected) in [
            ("", 1, "its end", "a number"),
            ("  ", 3, "its end", "a number"),
            ("1 +", 4, "its end", "a number"),
            ("1 2", 3, "\"2\"", "an operator or the end"),
            ("1e3", 2, "\"e3\"", "an operator or the end"),
            ("+1", 1, "\"+\"", "a number"),
            ("2 ** 3", 4, "\"*\"", "a number"),
            ("2 ^ 3", 3, "\"^\"", "an operator or the end"),
            ("(1", 3, "its end", "an operator or ')'"),
            ("1)", 2, "\")\"", "an operator or the end"),
            ("1.2.3", 1, "\"1.2.3\"", "a number"),
            (".", 1, "\".\"", "a number"),
            ("pow 2", 5, "\"2\"", "'('"),
            ("pow(1, 2", 9, "its end", "',' or ')'"),
            ("pow(1,,2)", 7, "\",\"", "a number"),
            ("retried(1)", 8, "\"(\"", "an operator or the end"),
            ("1 + \u{e9}\u{e9}", 5, "\"\u{e9}\"", "a number"),
            ("1000;", 5, "\";\"", "an operator or the end"),
            ("1\n+ #", 5, "\"#\"", "a number"),
        ] {
            let told = told(text);
            let place = format!("has {found} at place {place}, ");
            assert!(told.contains(&place), "{text:?}: {told}");
            assert!(told.contains(expected), "{text:?}: {told}");
        }
    }

    #[test]
    fn only_known_names_with_their_number_of_arguments_are_taken() {
        for name in ["log", "Retried", "retries", "POW", "pi", "_", "x1"] {
            let told = told(&format!("1 + {name}"));
            let expected = format!("the name {name:?} at place 5");
            assert!(told.contains(&expected), "{told}");
        }
        for (text, expected) in [
            ("pow(2)", "pow at place 1 1 arguments, it takes 2"),
            ("1+min(1, 2, 3)", "min at place 3 3 arguments, it takes 2"),
            ("sqrt()", "sqrt at place 1 0 arguments, it takes 1"),
            ("abs(1, 2)", "abs at place 1 2 arguments, it takes 1"),
        ] {
            let told = told(text);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let long = "1".repeat(EXPRESSION_BYTES_MAX);
        assert!(Expression::parse(&long).is_ok());
        let bytes = EXPRESSION_BYTES_MAX + 1;
        assert_eq!(
            Expression::parse(&format!("{long}1")),
            Err(ExpressionError::TooLong { bytes })
        );
        let nested = |depth: usize| {
            let (open, close) = ("(".repeat(depth), ")".repeat(depth));
            Expression::parse(&format!("{open}1{close}"))
        };
        assert!(nested(EXPRESSION_DEPTH_MAX - 1).is_ok());
        assert!(
            nested(EXPRESSION_DEPTH_MAX)
                .unwrap_err()
                .to_string()
                .contains("too deep at place 33")
        );
        assert!(Expression::parse(&format!("{}1", "-".repeat(400))).is_err());
        let sum = format!("{}1", "1+".repeat(255));
        assert_eq!(delays(&sum), [Some(256); 4]);
    }

    /// A sound expression and its value, computed beside the parser.
    fn sound() -> impl Strategy<Value = (String, f64)> {
        let leaf = prop_oneof![
            (0_u32..1000).prop_map(|n| (n.to_string(), f64::from(n))),
            Just((VARIABLE.to_owned(), 3.0)),
        ];
        leaf.prop_recursive(4, 20, 2, |inner| {
            (inner.clone(), inner, 0..7_u8).prop_map(|((a, x), (b, y), kind)| match kind {
                0 => (format!("({a} + {b})"), x + y),
                1 => (format!("({a}-{b})"), x - y),
                2 => (format!("({a})*({b})"), x * y),
                3 => (format!("(({a}) / ({b}))"), x / y),
                4 => (format!("-({a})"), -x),
                5 => (format!("floor({a})"), x.floor()),
                _ => (
                    format!("max({a} ,{b})"),
                    if x.is_nan() || y.is_nan() {
                        f64::NAN
                    } else {
                        x.max(y)
                    },
                ),
            })
        })
    }

    proptest! {
        #[test]
        fn sound_expressions_have_their_value((text, expected) in sound()) {
            prop_assume!(text.len() <= EXPRESSION_BYTES_MAX);
            let value = Expression::parse(&text).unwrap().value(3.0);
            let is_same = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
            prop_assert!(is_same, "{text}: {value} != {expected}");
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[-+*/(),. 0-9a-z\u{e9}]{0,40}|\\PC{0,40}", retried in any::<u32>()) {
            match Expression::parse(&text) {
                Ok(expression) => {
                    prop_assert!(expression.delay_ms(retried).is_none_or(|ms| ms <= DAY_MS));
                    prop_assert_eq!(expression.to_string(), text);
                }
                Err(error) => prop_assert!(error.to_string().len() < 1000),
            }
        }
    }
}
