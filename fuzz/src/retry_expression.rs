//! Retry delays that publishers write: any text is an expression or refused, and an expression gives a wait of at most a day,
//! or none.

use redrive::delivery::DAY_MS;
use redrive::delivery::expression::{EXPRESSION_BYTES_MAX, Expression};

const RETRIED: [u32; 6] = [0, 1, 2, 3, 100, u32::MAX];

/// Takes the bytes for the text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Expression::parse(text) {
        Ok(expression) => sound(text, &expression),
        Err(error) => {
            let told = error.to_string();
            let shown = text.len() > EXPRESSION_BYTES_MAX || told.contains(&format!("{text:?}"));
            assert!(shown, "{told} does not say which value is wrong");
        }
    }
}

fn sound(text: &str, expression: &Expression) {
    assert_eq!(expression.to_string(), text);
    let again = Expression::parse(&expression.to_string());
    let again = again.expect("what an expression shows is one");
    // Parentheses change nothing, as long as there is room for them.
    let wrapped = Expression::parse(&format!("({text})")).ok();
    for retried in RETRIED {
        let delay = expression.delay_ms(retried);
        assert!(delay.is_none_or(|ms| ms <= DAY_MS), "{delay:?}");
        assert_eq!(again.delay_ms(retried), delay);
        if let Some(wrapped) = &wrapped {
            assert_eq!(wrapped.delay_ms(retried), delay);
        }
    }
}
