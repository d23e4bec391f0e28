//! What expressions compute, and what is said about texts that are none.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

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
        Just(("retried".to_owned(), 3.0)),
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
