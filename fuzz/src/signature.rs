//! Signatures of deliveries, as a receiver checks them: no text passes but the one that was signed.

use redrive::delivery::signature::{Signed, SigningKey, sign, verify};

use super::input::{Input, NOW};

const URL: &str = "https://a.example/b";

/// Takes the bytes for a signature, and for a body that is signed and then changed as the first bytes say.
pub fn run(data: &[u8]) {
    let key = SigningKey::new("sig_of_the_fuzzer");
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(
            verify(&key, text, None, b"", NOW).is_err(),
            "{text} was made by nobody"
        );
    }
    let mut input = Input(data);
    let (at, flip) = (usize::from(input.u16()), input.u8());
    let signed = Signed {
        url: URL,
        now: NOW,
        jti: "jwt_1",
        body: input.0,
    };
    let token = sign(&key, &signed);
    assert_eq!(verify(&key, &token, Some(URL), input.0, NOW), Ok(()));
    let mut changed = token.clone().into_bytes();
    let at = at % changed.len();
    changed[at] ^= flip;
    if let Ok(changed) = String::from_utf8(changed)
        && changed != token
    {
        assert!(
            verify(&key, &changed, Some(URL), input.0, NOW).is_err(),
            "{changed} passes for {token}"
        );
    }
    let other = SigningKey::new("sig_of_another");
    assert!(verify(&other, &token, Some(URL), input.0, NOW).is_err());
}
