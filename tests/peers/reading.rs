//! A reader of HTTP/1.1 that does what RFC 9112 allows and nothing beyond it: what it finds ambiguous ends the stream.

/// A request as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

/// How a reader takes a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reading {
    pub(crate) requests: Vec<Seen>,
    /// Whether it would read on at the end of the stream. Otherwise the last thing that it met ends the connection.
    pub(crate) goes_on: bool,
}

/// Reads a stream. With `is_lenient` a line feed alone ends a line of a head, as the RFC lets a recipient have it, and blanks may
/// stand behind the size of a chunk, where there is nothing else that they could mean.
pub(crate) fn strict(stream: &[u8], is_lenient: bool) -> Reading {
    let mut reader = Reader {
        rest: stream,
        is_lenient,
    };
    let mut reading = Reading::default();
    loop {
        if reader.rest.is_empty() {
            reading.goes_on = true;
            return reading;
        }
        match reader.request() {
            Some((seen, is_last)) => {
                reading.requests.push(seen);
                if is_last {
                    return reading;
                }
            }
            None => return reading,
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    is_lenient: bool,
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

fn is_field_text(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let from = text.iter().position(|byte| !is_blank(byte));
    let Some(from) = from else { return &[] };
    let to = text.iter().rposition(|byte| !is_blank(byte)).unwrap();
    &text[from..=to]
}

impl<'a> Reader<'a> {
    /// A line without its end; `None` when it does not end, or ends as no line may.
    fn line(&mut self, is_of_head: bool) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, behind) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = behind;
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if is_of_head && self.is_lenient => line,
            None => return None,
        };
        (!line.contains(&b'\r')).then_some(line)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest.get(..count)?;
        self.rest = &self.rest[count..];
        Some(taken)
    }

    fn request(&mut self) -> Option<(Seen, bool)> {
        let mut line = self.line(true)?;
        while line.is_empty() {
            line = self.line(true)?;
        }
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_old = version == b"HTTP/1.0";
        let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
        if words.next().is_some()
            || !is_token(method)
            || !is_target
            || !(is_old || version == b"HTTP/1.1")
        {
            return None;
        }
        let fields = self.fields()?;
        let of = |name: &str| -> Vec<&[u8]> {
            let named = fields
                .iter()
                .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
            named.map(|(_, value)| *value).collect()
        };
        let (codings, lengths) = (of("transfer-encoding"), of("content-length"));
        let body = match codings.as_slice() {
            [] => self.sized(&lengths)?,
            [only] if only.eq_ignore_ascii_case(b"chunked") && !is_old => self.chunks()?,
            _ => return None,
        };
        let says = |word: &str| {
            of("connection")
                .iter()
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|found| trimmed(found).eq_ignore_ascii_case(word.as_bytes()))
        };
        let is_last = says("close")
            || (is_old && !says("keep-alive"))
            || (!codings.is_empty() && !lengths.is_empty());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (method, target) = (text(method), text(target));
        Some((
            Seen {
                method,
                target,
                body,
            },
            is_last,
        ))
    }

    fn fields(&mut self) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line(true)?;
            if line.is_empty() {
                return Some(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
            if !is_token(name) || !is_field_text(value) {
                return None;
            }
            fields.push((name, value));
        }
    }

    fn sized(&mut self, lengths: &[&[u8]]) -> Option<Vec<u8>> {
        let number = |text: &&[u8]| -> Option<usize> {
            let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            is_number.then_some(())?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let numbers: Option<Vec<usize>> = lengths.iter().map(number).collect();
        let numbers = numbers?;
        let length = numbers.first().copied().unwrap_or(0);
        // One that is repeated is one.
        let is_one = numbers.iter().all(|other| *other == length);
        Some(self.take(is_one.then_some(length)?)?.to_vec())
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(false)?;
            let digits = line.split(|byte| *byte == b';').next()?;
            let is_extended = digits.len() < line.len();
            // Blanks may stand before an extension only.
            let digits = if is_extended || self.is_lenient {
                trimmed(digits)
            } else {
                digits
            };
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
            if !is_number || !line.starts_with(digits) || !is_field_text(line) {
                return None;
            }
            let text = std::str::from_utf8(digits).ok()?;
            let length = usize::from_str_radix(text, 16).ok()?;
            if length == 0 {
                self.fields()?;
                return Some(body);
            }
            body.extend_from_slice(self.take(length)?);
            if self.take(2)? != b"\r\n" {
                return None;
            }
        }
    }
}
