//! Text in a URL: what a request says of a device or a choice must not become another path or parameter.

/// With everything encoded that has a meaning in a path or a query.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_place() {
        assert_eq!(encoded("001010000000001"), "001010000000001");
        assert_eq!(encoded("a/b?c#d e%&f=g"), "a%2Fb%3Fc%23d%20e%25%26f%3Dg");
    }
}
