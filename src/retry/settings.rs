//! A policy in a configuration file: `max_delay = "1s"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::retry::builder::RetryPolicyBuilder;
use crate::retry::policy::RetryPolicy;

/// How the file spells "no limit", for which TOML has no null.
const FOREVER: &str = "forever";

const PRESET: &str = "preset";
const FIELDS: [&str; 9] = [
    PRESET,
    "initial_delay",
    "multiplier",
    "max_delay",
    "jitter",
    "max_attempts",
    "max_elapsed",
    "seed",
    "wake_on_release",
];

/// Reads the fields of the [builder](crate::retry::RetryPolicyBuilder), by the same names and rules.
///
/// A missing field is as in the policy that `preset` names, `"default"` or `"daemon"`; without a preset, as in
/// the default one. An unknown field is refused. Durations are written as `"250ms"` or `"1m 30s"`,
/// `max_elapsed` may also be `"forever"`, jitter is `"none"`, `"equal"` or `"full"`. Errors name the field.
///
/// # Examples
///
/// A daemon, but with longer delays:
///
/// ```
/// use pidlockfile::retry::RetryPolicy;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy: RetryPolicy = toml::from_str("preset = 'daemon'\nmax_delay = '5s'")?;
/// assert_eq!(policy, RetryPolicy::daemon().to_builder().max_delay(std::time::Duration::from_secs(5)).build()?);
/// # Ok(())
/// # }
/// ```
impl<'de> Deserialize<'de> for RetryPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RetryPolicy, D::Error> {
        deserializer.deserialize_map(Settings)
    }
}

struct Settings;

impl<'de> Visitor<'de> for Settings {
    type Value = RetryPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a retry policy")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RetryPolicy, A::Error> {
        // The preset may stand behind what changes it.
        let mut policy = RetryPolicy::default();
        let mut changes: Vec<Change> = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            match &*field {
                PRESET => policy = preset(&value::<String, _>(&mut map, &field)?)?,
                "initial_delay" => {
                    let delay = duration(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.initial_delay(delay)));
                }
                "multiplier" => {
                    let factor = value(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.multiplier(factor)));
                }
                "max_delay" => {
                    let delay = duration(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.max_delay(delay)));
                }
                "jitter" => {
                    let jitter = value(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.jitter(jitter)));
                }
                "max_attempts" => {
                    let limit: Option<u32> = value(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.max_attempts(limit)));
                }
                "max_elapsed" => {
                    let limit = limit(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.max_elapsed(limit)));
                }
                "seed" => {
                    let seed: Option<u64> = value(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.seed(seed)));
                }
                "wake_on_release" => {
                    let wake = value(&mut map, &field)?;
                    changes.push(Box::new(move |it| it.wake_on_release(wake)));
                }
                _ => return Err(A::Error::unknown_field(&field, &FIELDS)),
            }
        }
        let builder = changes.into_iter().fold(policy.to_builder(), |it, change| change(it));
        builder.build().map_err(A::Error::custom)
    }
}

type Change = Box<dyn FnOnce(RetryPolicyBuilder) -> RetryPolicyBuilder>;

fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    field: &str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|error| A::Error::custom(format_args!("{field}: {error}")))
}

fn preset<E: Error>(name: &str) -> Result<RetryPolicy, E> {
    match name {
        "default" => Ok(RetryPolicy::default()),
        "daemon" => Ok(RetryPolicy::daemon()),
        _ => {
            Err(E::custom(format_args!("{PRESET}: {name:?} is neither \"default\" nor \"daemon\"")))
        }
    }
}

fn duration<'de, A: MapAccess<'de>>(map: &mut A, field: &str) -> Result<Duration, A::Error> {
    parse(&value::<String, A>(map, field)?, field)
}

fn limit<'de, A: MapAccess<'de>>(map: &mut A, field: &str) -> Result<Option<Duration>, A::Error> {
    match &*value::<String, A>(map, field)? {
        FOREVER => Ok(None),
        text => parse(text, field).map(Some),
    }
}

fn parse<E: Error>(text: &str, field: &str) -> Result<Duration, E> {
    humantime::parse_duration(text)
        .map_err(|error| E::custom(format_args!("{field}: {text:?} is not a duration: {error}")))
}

impl Serialize for RetryPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = |duration| humantime::format_duration(duration).to_string();
        let max_elapsed = self.max_elapsed.map_or_else(|| FOREVER.to_owned(), written);
        let mut fields = serializer.serialize_struct("RetryPolicy", FIELDS.len() - 1)?;
        fields.serialize_field("initial_delay", &written(self.initial_delay))?;
        fields.serialize_field("multiplier", &self.multiplier)?;
        fields.serialize_field("max_delay", &written(self.max_delay))?;
        fields.serialize_field("jitter", &self.jitter)?;
        match self.max_attempts {
            Some(limit) => fields.serialize_field("max_attempts", &limit)?,
            None => fields.skip_field("max_attempts")?,
        }
        fields.serialize_field("max_elapsed", &max_elapsed)?;
        match self.seed {
            Some(seed) => fields.serialize_field("seed", &seed)?,
            None => fields.skip_field("seed")?,
        }
        fields.serialize_field("wake_on_release", &self.wake_on_release)?;
        fields.end()
    }
}
