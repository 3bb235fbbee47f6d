//! Words that a field may have: read whatever their case, since manifests write both `Abort` and `abort`.

/// Makes an enum of words: written as the first word, read as any of them in any case.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal $(| $other:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl $name {
            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                $(for word in [$word $(, $other)*] {
                    if text.eq_ignore_ascii_case(word) {
                        return Ok(Self::$variant);
                    }
                })+
                Err(serde::de::Error::unknown_variant(&text, &[$($word),+]))
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut words: Vec<String> = Vec::new();
                $(for word in [$word $(, $other)*] {
                    for form in [word.to_owned(), word.to_lowercase()] {
                        if !words.contains(&form) {
                            words.push(form);
                        }
                    }
                })+
                schemars::json_schema!({ "type": "string", "enum": words })
            }
        }
    };
}

pub(super) use words;
