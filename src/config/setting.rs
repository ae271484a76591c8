//! What a setting is: its name, type, default and the values it may have.

use super::value;

/// Types of settings, named as Kafka names them in DescribeConfigs (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
    /// A name that is in no registry: kept because Kafka keeps it, never shown.
    Unknown,
}

impl Kind {
    /// The name in Kafka's error messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Which values of the right type are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// Of a [`Kind::Double`].
    Fraction,
    /// Of a string, or of every item of a list.
    OneOf(&'static [&'static str]),
    /// As [`Check::OneOf`], upper and lower case alike.
    OneOfAnyCase(&'static [&'static str]),
    /// 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// `*`, or items `partition:broker`.
    Replicas,
    NonEmpty,
}

/// When a setting of the broker may change (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Only by a restart.
    ReadOnly,
    /// While running, for one broker.
    PerBroker,
    /// While running, for one broker or for all of them. Settings of topics have this scope.
    ClusterWide,
}

/// One setting. Build tables of them with [`setting`] and [`unset`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: no value unless one is given.
    pub default: Option<&'static str>,
    pub check: Check,
    pub scope: Scope,
    /// `None`: the setting has no effect here; it is listed because clients ask for it.
    pub doc: Option<&'static str>,
}

/// What DescribeConfigs says about settings that this broker only lists.
const INERT: &str = "Listed because clients and tools of Apache Kafka ask for it; this broker has \
                     nothing that it could change.";

/// A setting with a default.
pub const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    scope: Scope,
) -> Setting {
    Setting {
        name,
        kind,
        default: Some(default),
        check,
        scope,
        doc: None,
    }
}

/// A setting without a default.
pub const fn unset(name: &'static str, kind: Kind, check: Check, scope: Scope) -> Setting {
    Setting {
        name,
        kind,
        default: None,
        check,
        scope,
        doc: None,
    }
}

impl Setting {
    /// Says what the setting does, which also says that it does something.
    #[must_use]
    pub const fn does(mut self, doc: &'static str) -> Self {
        self.doc = Some(doc);
        self
    }

    pub const fn acts(&self) -> bool {
        self.doc.is_some()
    }

    pub const fn documentation(&self) -> &'static str {
        match self.doc {
            Some(doc) => doc,
            None => INERT,
        }
    }

    /// Passwords are never shown.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password | Kind::Unknown)
    }

    /// Checks `text` and brings it into the form in which it is shown (trimmed, numbers and lists
    /// in their plain form).
    ///
    /// # Errors
    /// Why not, in the words of Kafka's `ConfigException`, which its tools print.
    pub fn parse(&self, text: &str) -> Result<String, String> {
        value::parse(self, text)
    }
}
