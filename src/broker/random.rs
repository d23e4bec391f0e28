//! Random ids and keys, from the system's source: nobody can guess them.

use crate::protocol::error_code::{ErrorCode, Refusal};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters behind the prefix: 166 bits.
const CHARACTER_COUNT: usize = 28;
/// Bytes from here on would make the first characters likelier than the last.
const FAIR_END: u8 = 62 * 4;

/// Returns the prefix with 28 random letters and digits behind it.
pub(super) fn random_text(prefix: &str) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(prefix.len().saturating_add(CHARACTER_COUNT));
    text.push_str(prefix);
    let end = text.len().saturating_add(CHARACTER_COUNT);
    while text.len() < end {
        let mut bytes = [0; CHARACTER_COUNT];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR_END);
        let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        let left = end.saturating_sub(text.len());
        text.extend(letters.take(left).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// Says that the system gives no random numbers.
pub(super) fn no_random(error: getrandom::Error) -> Refusal {
    let message = format!("the system gives no random numbers: {error}");
    Refusal::new(ErrorCode::Internal, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn texts_have_their_prefix_and_28_letters_and_digits_and_are_never_the_same() {
        let texts: std::collections::BTreeSet<_> =
            (0..100).map(|_| random_text("sig_").unwrap()).collect();
        assert_eq!(texts.len(), 100);
        let mut seen = std::collections::BTreeSet::new();
        for text in texts {
            let random = text.strip_prefix("sig_").unwrap();
            assert_eq!(random.len(), 28);
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            seen.extend(random.bytes());
        }
        // 2,800 draws leave a given one of 62 characters out once in 10^20.
        assert_eq!(seen.len(), 62);
    }
}
