//! Small pieces of text shared by the text headers and their writers.

/// Reads a finite number.
pub(crate) fn finite(word: &str) -> Option<f64> {
    word.trim().parse().ok().filter(|v: &f64| v.is_finite())
}

/// Text that fits one header line: control characters become spaces.
pub(crate) fn one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.trim().to_owned()
}

/// Text from a fixed-size field that ends at the first NUL.
pub(crate) fn fixed(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = one_line(&String::from_utf8_lossy(&bytes[..end]));
    (!text.is_empty()).then_some(text)
}

/// Text for a fixed-size field: cut at a character, padded with `fill`.
pub(crate) fn field(text: &str, size: usize, fill: u8) -> Vec<u8> {
    let mut text = one_line(text);
    while text.len() > size {
        text.pop();
    }
    let mut bytes = text.into_bytes();
    bytes.resize(size, fill);
    bytes
}
