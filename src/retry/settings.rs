//! A policy in a configuration file: `max_delay = "1s"`.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::retry::policy::{Jitter, RetryPolicy};

/// How the file spells "no limit", for which TOML has no null.
const FOREVER: &str = "forever";

#[derive(Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, rename = "RetryPolicy")]
struct Settings {
    #[serde(skip_serializing)]
    preset: Preset,
    initial_delay: Option<String>,
    multiplier: Option<f64>,
    max_delay: Option<String>,
    jitter: Option<Jitter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    max_elapsed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    wake_on_release: Option<bool>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Preset {
    #[default]
    Default,
    Daemon,
}

/// Reads the fields of the [builder](crate::retry::RetryPolicyBuilder), with the same names and rules.
///
/// The field `preset` is `"default"` or `"daemon"`, and supplies the missing fields. **Without it, the default
/// policy does, which gives up after 10 s**: a daemon's table needs `preset = "daemon"`. An unknown field is an error. Durations are written as `"250ms"` or `"1m 30s"`, `max_elapsed`
/// may also be `"forever"`, and jitter is `"none"`, `"equal"` or `"full"`.
///
/// # Examples
///
/// A daemon, but with longer delays:
///
/// ```
/// use std::time::Duration;
///
/// use pidlockfile::retry::RetryPolicy;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy: RetryPolicy = toml::from_str("preset = 'daemon'\nmax_delay = '5s'")?;
/// let daemon = RetryPolicy::daemon().to_builder();
/// assert_eq!(policy, daemon.max_delay(Duration::from_secs(5)).build()?);
/// # Ok(())
/// # }
/// ```
impl<'de> Deserialize<'de> for RetryPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RetryPolicy, D::Error> {
        let settings = Settings::deserialize(deserializer)?;
        let preset = match settings.preset {
            Preset::Default => RetryPolicy::default(),
            Preset::Daemon => RetryPolicy::daemon(),
        };
        let policy = RetryPolicy {
            initial_delay: duration("initial_delay", settings.initial_delay, preset.initial_delay)?,
            multiplier: settings.multiplier.unwrap_or(preset.multiplier),
            max_delay: duration("max_delay", settings.max_delay, preset.max_delay)?,
            jitter: settings.jitter.unwrap_or(preset.jitter),
            max_attempts: settings.max_attempts.or(preset.max_attempts),
            max_elapsed: match settings.max_elapsed {
                None => preset.max_elapsed,
                Some(text) if text == FOREVER => None,
                text => Some(duration("max_elapsed", text, Duration::ZERO)?),
            },
            seed: settings.seed.or(preset.seed),
            wake_on_release: settings.wake_on_release.unwrap_or(preset.wake_on_release),
        };
        policy.to_builder().build().map_err(D::Error::custom)
    }
}

fn duration<E: Error>(field: &str, text: Option<String>, preset: Duration) -> Result<Duration, E> {
    text.map_or(Ok(preset), |text| {
        humantime::parse_duration(&text).map_err(|error| {
            E::custom(format_args!("{field}: {text:?} is not a duration: {error}"))
        })
    })
}

impl Serialize for RetryPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = |duration| humantime::format_duration(duration).to_string();
        let settings = Settings {
            preset: Preset::Default,
            initial_delay: Some(written(self.initial_delay)),
            multiplier: Some(self.multiplier),
            max_delay: Some(written(self.max_delay)),
            jitter: Some(self.jitter),
            max_attempts: self.max_attempts,
            max_elapsed: Some(self.max_elapsed.map_or_else(|| FOREVER.to_owned(), written)),
            seed: self.seed,
            wake_on_release: Some(self.wake_on_release),
        };
        settings.serialize(serializer)
    }
}
