//! A group's last generation: who is in it and what each was assigned.

use super::{Input, Malformed, Output};
use bytes::Bytes;
use std::sync::Arc;

/// The value of a group record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct GroupMetadata {
    /// Empty: none.
    pub(in super::super) protocol_type: Arc<str>,
    pub(in super::super) generation: i32,
    pub(in super::super) protocol: Option<Arc<str>>,
    pub(in super::super) leader: Option<Arc<str>>,
    /// When the group came into its state, milliseconds since the Unix epoch; -1: unknown.
    pub(in super::super) state_since_ms: i64,
    pub(in super::super) members: Vec<MemberMetadata>,
}

/// One member of a generation. Timeouts in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct MemberMetadata {
    pub(in super::super) id: Arc<str>,
    pub(in super::super) instance: Option<Arc<str>>,
    pub(in super::super) client_id: Arc<str>,
    pub(in super::super) client_host: Arc<str>,
    /// -1: as the session timeout (version 0).
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) session_timeout_ms: i32,
    pub(in super::super) subscription: Bytes,
    pub(in super::super) assignment: Bytes,
}

/// The key of a group record, version 2.
pub(in super::super) fn group_key(group: &str) -> Bytes {
    Output::default().i16(2).string(group).finish()
}

/// Bytes that the smallest member takes in any version.
const MEMBER_BYTES: usize = 9;

impl GroupMetadata {
    /// Version 3, the one Kafka 4.2 writes.
    pub(in super::super) fn encode(&self) -> Bytes {
        let mut out = Output::default();
        out.i16(3)
            .string(&self.protocol_type)
            .i32(self.generation)
            .nullable_string(self.protocol.as_deref())
            .nullable_string(self.leader.as_deref())
            .i64(self.state_since_ms)
            .i32(self.members.len() as i32);
        for member in &self.members {
            out.string(&member.id)
                .nullable_string(member.instance.as_deref())
                .string(&member.client_id)
                .string(&member.client_host)
                .i32(member.rebalance_timeout_ms)
                .i32(member.session_timeout_ms)
                .byte_string(&member.subscription)
                .byte_string(&member.assignment);
        }
        out.finish()
    }

    /// # Errors
    /// Bytes that are no value of versions 0 to 4.
    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let metadata = match input.i16()? {
            version @ 0..=3 => Self::decode_classic(&mut input, version)?,
            4 => Self::decode_flexible(&mut input)?,
            _ => return Err(Malformed),
        };
        input.end()?;
        Ok(metadata)
    }

    fn decode_classic(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let mut metadata = Self {
            protocol_type: input.string()?,
            generation: input.i32()?,
            protocol: input.nullable_string()?,
            leader: input.nullable_string()?,
            state_since_ms: if version >= 2 { input.i64()? } else { -1 },
            members: Vec::new(),
        };
        for _ in 0..input.count(MEMBER_BYTES)? {
            metadata.members.push(MemberMetadata {
                id: input.string()?,
                instance: if version >= 3 {
                    input.nullable_string()?
                } else {
                    None
                },
                client_id: input.string()?,
                client_host: input.string()?,
                rebalance_timeout_ms: if version >= 1 { input.i32()? } else { -1 },
                session_timeout_ms: input.i32()?,
                subscription: input.byte_string()?,
                assignment: input.byte_string()?,
            });
        }
        Ok(metadata)
    }

    fn decode_flexible(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut metadata = Self {
            protocol_type: input.compact_string()?,
            generation: input.i32()?,
            protocol: input.compact_nullable_string()?,
            leader: input.compact_nullable_string()?,
            state_since_ms: input.i64()?,
            members: Vec::new(),
        };
        for _ in 0..input.compact_count(MEMBER_BYTES)? {
            metadata.members.push(MemberMetadata {
                id: input.compact_string()?,
                instance: input.compact_nullable_string()?,
                client_id: input.compact_string()?,
                client_host: input.compact_string()?,
                rebalance_timeout_ms: input.i32()?,
                session_timeout_ms: input.i32()?,
                subscription: input.compact_byte_string()?,
                assignment: input.compact_byte_string()?,
            });
            input.tags(|_, _| Ok(()))?;
        }
        input.tags(|_, _| Ok(()))?;
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn group() -> GroupMetadata {
        GroupMetadata {
            protocol_type: "consumer".into(),
            generation: 5,
            protocol: Some("range".into()),
            leader: Some("m1".into()),
            state_since_ms: 77,
            members: vec![MemberMetadata {
                id: "m1".into(),
                instance: Some("i1".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout_ms: 60_000,
                session_timeout_ms: 10_000,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"ass"),
            }],
        }
    }

    fn older(version: i16) -> Bytes {
        let group = group();
        let member = &group.members[0];
        let mut out = Output::default();
        out.i16(version)
            .string("consumer")
            .i32(5)
            .string("range")
            .string("m1");
        if version >= 2 {
            out.i64(77);
        }
        out.i32(1).string("m1");
        if version >= 3 {
            out.string("i1");
        }
        out.string("c").string("/127.0.0.1");
        if version >= 1 {
            out.i32(60_000);
        }
        out.i32(10_000)
            .byte_string(&member.subscription)
            .byte_string(&member.assignment);
        out.finish()
    }

    #[test]
    fn version_3_is_written_and_every_older_one_read() {
        assert_eq!(group().encode(), older(3));
        for version in 0..=3 {
            let mut expected = group();
            if version < 3 {
                expected.members[0].instance = None;
            }
            if version < 2 {
                expected.state_since_ms = -1;
            }
            if version < 1 {
                expected.members[0].rebalance_timeout_ms = -1;
            }
            assert_eq!(
                GroupMetadata::decode(&older(version)),
                Ok(expected),
                "version {version}"
            );
        }
    }

    #[test]
    fn the_flexible_version_is_read() {
        let mut out = Output::default();
        out.i16(4)
            .compact_string("consumer")
            .i32(5)
            .compact_string("range")
            .compact_string("m1");
        out.i64(77)
            .uvarint(2)
            .compact_string("m1")
            .compact_string("i1")
            .compact_string("c");
        out.compact_string("/127.0.0.1").i32(60_000).i32(10_000);
        out.uvarint(4).raw(b"sub").uvarint(4).raw(b"ass").uvarint(0);
        out.uvarint(1).uvarint(9).uvarint(2).raw(b"??");
        assert_eq!(GroupMetadata::decode(&out.finish()), Ok(group()));
    }

    #[test]
    fn cut_or_changed_bytes_are_refused_or_read_but_never_panic() {
        let good = group().encode();
        for cut in 0..good.len() {
            assert!(GroupMetadata::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            for value in [0, 4, 0x7f, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] = value;
                let _ = GroupMetadata::decode(&bad);
            }
        }
        assert_eq!(Key::decode(&group_key("g")), Ok(Key::Group("g".into())));
        assert_eq!(Key::decode(&[0, 9, 0, 0]), Err(Malformed));
    }
}
