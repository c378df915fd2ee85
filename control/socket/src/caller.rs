//! Who is at the other end of a Unix socket, as the kernel knows it (`SO_PEERCRED`, unix(7)).

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

/// A process that has connected. To be had in a handler as `ConnectInfo<Caller>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user, when it connected.
    pub uid: Option<u32>,
    /// That user's name, if this machine's `/etc/passwd` has one.
    pub name: Option<String>,
    /// Its process number, when it connected; it may be another process's by the time somebody reads it.
    pub pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let Ok(credentials) = stream.io().peer_cred() else { return Self::default() };
        let uid = credentials.uid();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { uid: Some(uid), name: name_of(uid, &users), pid: credentials.pid() }
    }
}

/// A user's name in a text such as `/etc/passwd`, see passwd(5).
fn name_of(uid: u32, users: &str) -> Option<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    users.lines().find_map(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_the_first_line_with_its_number() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nops:x:1000:1000::/home/ops:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nodd";
        assert_eq!(name_of(0, users).as_deref(), Some("root"));
        assert_eq!(name_of(1000, users).as_deref(), Some("ops"));
        assert_eq!(name_of(7, users), None);
    }
}
