//! Query strings and percent-encoding. PURE.

use std::borrow::Cow;

/// Splits a query string into decoded names and values, in order. `+` is a blank. What is not UTF-8 after decoding is
/// replaced by U+FFFD.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
}

/// Decodes `%41`; a percent sign that no two hex digits follow stands for itself.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    decode(text, false)
}

fn decode(text: &str, is_plus_blank: bool) -> Cow<'_, str> {
    if !text
        .bytes()
        .any(|byte| byte == b'%' || (is_plus_blank && byte == b'+'))
    {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (*byte, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (b'+', _) if is_plus_blank => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_decoded_in_order() {
        let found: Vec<_> = pairs("a=1&b=x%20y+z&&c&a=%C3%A4=&%zz=%4").collect();
        let expected = [
            ("a", "1"),
            ("b", "x y z"),
            ("c", ""),
            ("a", "\u{e4}="),
            ("%zz", "%4"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
        assert_eq!(percent_decode("a+b%2Fc%ff"), "a+b/c\u{fffd}");
    }

    proptest! {
        #[test]
        fn encoded_text_comes_back(text in "\\PC{0,20}") {
            let encoded: Vec<String> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let encoded = encoded.concat();
            prop_assert_eq!(percent_decode(&encoded), text);
        }
    }
}
