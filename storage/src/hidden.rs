//! Stand-ins for what `Debug` must not show: bodies and the values of headers are other people's, and may be secrets. PURE.

use std::fmt;

/// Shows how many bytes there are, and none of them.
pub struct Hidden<'a>(pub &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// Shows the names of headers, and how many bytes each value has.
pub struct HiddenHeaders<'a, V>(pub &'a [(String, V)]);

impl<V: AsRef<[u8]>> fmt::Debug for HiddenHeaders<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.0.iter();
        f.debug_list()
            .entries(headers.map(|(name, value)| (name, Hidden(value.as_ref()))))
            .finish()
    }
}

/// Shows a URL without what stands in its query.
pub struct HiddenQuery<'a>(pub &'a str);

impl fmt::Debug for HiddenQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('?') {
            Some((url, query)) => write!(f, "\"{url}?\"{:?}", Hidden(query.as_bytes())),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_shown_and_no_bytes() {
        assert_eq!(format!("{:?}", Hidden(b"hunter2")), "<7 bytes>");
        let headers = [("authorization".to_owned(), "Bearer hunter2")];
        let shown = format!("{:?}", HiddenHeaders(&headers));
        assert_eq!(shown, "[(\"authorization\", <14 bytes>)]");
        let url = format!("{:?}", HiddenQuery("https://a.example/b?token=hunter2"));
        assert_eq!(url, "\"https://a.example/b?\"<13 bytes>");
    }
}
