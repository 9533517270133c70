//! A policy in a configuration file: `max_delay = "1s"`.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::retry::{Jitter, RetryPolicy};

/// How the file spells "no limit", for which TOML has no null.
const FOREVER: &str = "forever";

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, rename = "RetryPolicy")]
struct Settings {
    #[serde(with = "duration")]
    initial_delay: Duration,
    multiplier: f64,
    #[serde(with = "duration")]
    max_delay: Duration,
    jitter: Jitter,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(with = "limit")]
    max_elapsed: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    wake_on_release: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::from(RetryPolicy::default())
    }
}

impl From<RetryPolicy> for Settings {
    fn from(policy: RetryPolicy) -> Settings {
        Settings {
            initial_delay: policy.initial_delay,
            multiplier: policy.multiplier,
            max_delay: policy.max_delay,
            jitter: policy.jitter,
            max_attempts: policy.max_attempts,
            max_elapsed: policy.max_elapsed,
            seed: policy.seed,
            wake_on_release: policy.wake_on_release,
        }
    }
}

/// Reads the fields of the [builder](crate::retry::RetryPolicyBuilder), by the same names and rules.
/// A missing field is as in the default policy, an unknown one is refused. Durations are written as
/// `"250ms"` or `"1m 30s"`, `max_elapsed` may also be `"forever"`, jitter is `"none"`, `"equal"` or
/// `"full"`.
impl<'de> Deserialize<'de> for RetryPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RetryPolicy, D::Error> {
        let settings = Settings::deserialize(deserializer)?;
        RetryPolicy::builder()
            .initial_delay(settings.initial_delay)
            .multiplier(settings.multiplier)
            .max_delay(settings.max_delay)
            .jitter(settings.jitter)
            .max_attempts(settings.max_attempts)
            .max_elapsed(settings.max_elapsed)
            .seed(settings.seed)
            .wake_on_release(settings.wake_on_release)
            .build()
            .map_err(D::Error::custom)
    }
}

impl Serialize for RetryPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Settings::from(self.clone()).serialize(serializer)
    }
}

mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn parse<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text)
            .map_err(|error| E::custom(format_args!("{text:?} is not a duration: {error}")))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(from)?)
    }

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }
}

mod limit {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{FOREVER, duration};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        match String::deserialize(from)?.as_str() {
            FOREVER => Ok(None),
            text => duration::parse(text).map(Some),
        }
    }

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        limit: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match limit {
            Some(limit) => duration::serialize(limit, to),
            None => to.serialize_str(FOREVER),
        }
    }
}
