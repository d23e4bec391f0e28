//! From text to operations, by recursive descent: one function for each rule of the grammar. PURE.

use super::EXPRESSION_DEPTH_MAX;
use super::error::ExpressionError;
use super::operation::{Binary, Operation, Unary};

const VARIABLE: &str = "retried";

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

/// Parses a whole text into the operations that compute it.
pub(super) fn parse(text: &str) -> Result<Vec<Operation>, ExpressionError> {
    let mut parser = Parser::new(text);
    parser.advance();
    parser.sum()?;
    match parser.token {
        Token::End => Ok(parser.operations),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

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
