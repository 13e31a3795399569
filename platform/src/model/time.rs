//! How times are written: RFC 3339 in UTC with three decimals, so that they sort as texts.

use jiff::Timestamp;
use serde::{Serialize as _, Serializer};

/// A time.
pub(super) fn millis<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// A time, where there is one.
pub(super) fn maybe_millis<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| format!("{time:.3}")).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Times {
        #[serde(serialize_with = "millis")]
        one: Timestamp,
        #[serde(serialize_with = "maybe_millis")]
        other: Option<Timestamp>,
    }

    #[test]
    fn every_time_has_three_decimals() {
        let written = |microsecond: i64, other| {
            let one = Timestamp::from_microsecond(microsecond).unwrap();
            serde_json::to_value(Times { one, other }).unwrap()
        };
        assert_eq!(written(0, None)["one"], "1970-01-01T00:00:00.000Z");
        assert_eq!(written(1_999_999, None)["one"], "1970-01-01T00:00:01.999Z");
        assert_eq!(written(1, None)["other"], serde_json::Value::Null);
        assert_eq!(written(1, Some(Timestamp::UNIX_EPOCH))["other"], "1970-01-01T00:00:00.000Z");
    }
}
