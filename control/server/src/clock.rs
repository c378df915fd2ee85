//! The one clock of control: everything below the server is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

use weir_service_control::UnixMillis;

/// The wall clock. A clock set before 1970 reads as 1970.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
