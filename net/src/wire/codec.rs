//! How each wire type is read and written, and what generated code is made of.

pub(crate) use super::error::DecodeError;
pub(crate) use super::reader::Reader;
pub(crate) use super::records::Records;
pub(crate) use super::text::Str;
pub(crate) use super::uuid::Uuid;
pub(crate) use super::writer::Writer;
pub(crate) use bytes::Bytes;

/// A value with a place on the wire.
pub(crate) trait Wire: Sized {
    /// No value of this type takes fewer bytes on the wire in this version.
    fn min_size(version: i16) -> usize;
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer, version: i16);
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn min_size(_: i16) -> usize {
                size_of::<Self>()
            }

            fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
                r.array().map(Self::from_be_bytes)
            }

            fn write(&self, w: &mut Writer, _: i16) {
                w.put(&self.to_be_bytes());
            }
        }
    )*};
}

integer!(i8, i16, u16, i32, i64);

impl Wire for bool {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.array().map(|[byte]| byte != 0)
    }

    fn write(&self, w: &mut Writer, _: i16) {
        w.put(&[u8::from(*self)]);
    }
}

impl Wire for Uuid {
    fn min_size(_: i16) -> usize {
        16
    }

    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.array().map(Self)
    }

    fn write(&self, w: &mut Writer, _: i16) {
        w.put(&self.0);
    }
}

impl Wire for Option<Str> {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        let Some(length) = r.string_length()? else {
            return Ok(None);
        };
        if length > Str::BYTES_MAX {
            return Err(DecodeError::Length(
                i64::try_from(length).unwrap_or(i64::MAX),
            ));
        }
        Str::from_utf8(r.take(length)?).map(Some)
    }

    fn write(&self, w: &mut Writer, version: i16) {
        match self {
            Some(text) => text.write(w, version),
            None => w.put_string_length(None),
        }
    }
}

impl Wire for Str {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.nullable("string", false, version)?
            .ok_or(DecodeError::Null { field: "string" })
    }

    fn write(&self, w: &mut Writer, _: i16) {
        let text = self.cut();
        w.put_string_length(Some(u16::try_from(text.len()).unwrap_or(0)));
        w.put(text.as_bytes());
    }
}

impl Wire for Option<Bytes> {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        match r.length()? {
            Some(length) => r.take(length).map(Some),
            None => Ok(None),
        }
    }

    fn write(&self, w: &mut Writer, version: i16) {
        match self {
            Some(bytes) => bytes.write(w, version),
            None => w.put_length(None),
        }
    }
}

impl Wire for Bytes {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.nullable("bytes", false, version)?
            .ok_or(DecodeError::Null { field: "bytes" })
    }

    fn write(&self, w: &mut Writer, _: i16) {
        w.put_length(Some(self.len()));
        w.put_shared(self);
    }
}

impl Wire for Option<Records> {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        let Some(length) = r.length()? else {
            return Ok(None);
        };
        let parts = r.take_pieces(length)?;
        // Of several pieces the connection held as many handles before: only one is new.
        r.charge(usize::from(length > 0), size_of::<Bytes>())?;
        Ok(Some(Records { parts }))
    }

    fn write(&self, w: &mut Writer, _: i16) {
        w.put_length(self.as_ref().map(Records::bytes_len));
        for part in self.iter().flat_map(|records| &records.parts) {
            w.put_shared(part);
        }
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let Some(count) = r.length()? else {
            return Ok(None);
        };
        if count > r.remaining() / T::min_size(version).max(1) {
            return Err(DecodeError::Length(
                i64::try_from(count).unwrap_or(i64::MAX),
            ));
        }
        r.charge(count, size_of::<T>())?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(r, version)?);
        }
        Ok(Some(elements))
    }

    fn write(&self, w: &mut Writer, version: i16) {
        match self {
            Some(elements) => elements.write(w, version),
            None => w.put_length(None),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn min_size(_: i16) -> usize {
        1
    }

    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.nullable("array", false, version)?
            .ok_or(DecodeError::Null { field: "array" })
    }

    fn write(&self, w: &mut Writer, version: i16) {
        w.put_length(Some(self.len()));
        for element in self {
            element.write(w, version);
        }
    }
}

/// A struct that may be null has a byte before it: negative for null.
macro_rules! nullable_struct {
    ($type:ident) => {
        impl Wire for Option<$type> {
            fn min_size(_: i16) -> usize {
                1
            }

            fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                match i8::read(r, version)? {
                    ..0 => Ok(None),
                    _ => $type::read(r, version).map(Some),
                }
            }

            fn write(&self, w: &mut Writer, version: i16) {
                match self {
                    None => w.put(&(-1_i8).to_be_bytes()),
                    Some(value) => {
                        w.put(&[1]);
                        value.write(w, version);
                    }
                }
            }
        }
    };
}

/// The entry points of a request or a response.
macro_rules! message {
    ($type:ident, $key:expr, $flexible:expr) => {
        impl $type {
            /// Reads the body that follows the header.
            ///
            /// # Errors
            /// Any [`DecodeError`], among them an unsupported version.
            pub fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                super::super::api::check_version($key, version)?;
                r.set_flexible(version >= $flexible);
                Wire::read(r, version)
            }

            /// Writes the body that follows the header. Look at [`Writer::lost`] when the version
            /// may not carry every value.
            pub fn encode(&self, w: &mut Writer, version: i16) {
                w.set_flexible(version >= $flexible);
                Wire::write(self, w, version);
            }
        }
    };
}

/// The keys and [`TABLE`](super::api::TABLE), as the schema files have them.
macro_rules! api_table {
    ($($name:ident $module:ident $key:literal $min:literal $max:literal $flexible:literal
       $advertised:literal,)*) => {
        /// The APIs this codec knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        pub(crate) const API_TABLE: &[api::ApiInfo] = &[$(api::ApiInfo {
            key: ApiKey::$name,
            name: stringify!($name),
            min: $min,
            max: $max,
            flexible_from: $flexible,
            advertised_min: $advertised,
        },)*];

        /// Decodes a message, and with a writer encodes what came out: what the tests compare
        /// with other codecs. The writer tells whether anything was lost on the way.
        ///
        /// # Errors
        /// Any [`DecodeError`](codec::DecodeError).
        pub fn recode(
            key: ApiKey,
            version: i16,
            response: bool,
            r: &mut codec::Reader,
            w: Option<&mut codec::Writer>,
        ) -> Result<(), codec::DecodeError> {
            match (key, response) {
                $((ApiKey::$name, false) => {
                    let message = $module::Request::decode(r, version)?;
                    w.map(|w| message.encode(w, version));
                }
                (ApiKey::$name, true) => {
                    let message = $module::Response::decode(r, version)?;
                    w.map(|w| message.encode(w, version));
                })*
            }
            Ok(())
        }
    };
}

pub(crate) use {api_table, message, nullable_struct};
