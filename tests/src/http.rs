//! As much of HTTP/1.1 as asking a local `weir` needs: one request, one answer, connection closed.
//!
//! It must not grow into a client; it trusts its peer to be the process under test. Read RFC 9112 §6 and §7.1.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;

/// How long an answer, or the next part of it, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, which must be UTF-8.
    pub body: String,
}

/// GETs a path from a loopback port inside a namespace.
pub fn get(namespace: &Namespace, port: u16, path: &str) -> Result<Response> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = namespace
        .enter(|| Ok(TcpStream::connect_timeout(&address, PATIENCE)?))
        .with_context(|| format!("cannot reach {address} in {}", namespace.name()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(stream, "GET", path, None)
        .with_context(|| format!("GET {path} from {address} in {}", namespace.name()))
}

/// Sends one request and reads the answer to its end.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<Response> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if let Some(body) = body {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += body.unwrap_or_default();
    stream.write_all(request.as_bytes()).context("the request was not taken")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the answer did not come to its end")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no header")?;
    let header = std::str::from_utf8(&answer[..split]).context("the answer's header is not text")?;
    let body = &answer[split + 4..];
    let mut lines = header.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in {status_line:?}"))?;
    let fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let field = |wanted| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let body = if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        joined(body)?
    } else {
        if let Some(length) = field("content-length") {
            ensure!(length.parse() == Ok(body.len()), "{} of {length} bytes of the answer came", body.len());
        }
        body.to_vec()
    };
    Ok(Response { status, body: String::from_utf8(body).context("the answer is not UTF-8")? })
}

/// Puts chunks together (RFC 9112 §7.1).
fn joined(mut chunks: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").context("a chunk has no size")?;
        let size = std::str::from_utf8(&chunks[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("{size:?} is no chunk size"))?;
        if size == 0 {
            return Ok(body);
        }
        let Some(chunk) = chunks.get(end + 2..end + 2 + size) else {
            bail!("a chunk of {size} bytes is cut off")
        };
        body.extend_from_slice(chunk);
        chunks = chunks.get(end + 2 + size + 2..).context("the last chunk is missing")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_answer_is_read() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nnot y")
            .expect("it is whole");
        assert_eq!(answer, Response { status: 503, body: "not y".into() });
    }

    #[test]
    fn a_chunked_answer_is_put_together() {
        let answer = parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!(answer.expect("it is whole").body, "abc0123456789");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        for cut in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"",
        ] {
            assert!(parse(cut).is_err(), "{:?}", String::from_utf8_lossy(cut));
        }
    }
}
