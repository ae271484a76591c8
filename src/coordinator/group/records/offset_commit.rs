//! One committed offset.

use super::super::call::TopicUuid;
use super::{Input, Malformed, Output};
use bytes::Bytes;
use std::sync::Arc;

/// The value of an offset record. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct OffsetCommit {
    pub(in super::super) offset: i64,
    /// -1: unknown.
    pub(in super::super) leader_epoch: i32,
    pub(in super::super) metadata: Arc<str>,
    pub(in super::super) committed_at_ms: i64,
    /// Asked for by OffsetCommit versions 2 to 4; instead of the broker's retention.
    pub(in super::super) expires_at_ms: Option<i64>,
    /// All zero: unknown.
    pub(in super::super) topic: TopicUuid,
}

/// The key of an offset record, version 1.
pub(in super::super) fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    Output::default()
        .i16(1)
        .string(group)
        .string(topic)
        .i32(partition)
        .finish()
}

impl OffsetCommit {
    /// Version 4, or version 1 where an explicit expiry has to be kept, as Kafka 4.2 chooses.
    pub(in super::super) fn encode(&self) -> Bytes {
        let mut out = Output::default();
        if let Some(expires_at_ms) = self.expires_at_ms {
            return out
                .i16(1)
                .i64(self.offset)
                .string(&self.metadata)
                .i64(self.committed_at_ms)
                .i64(expires_at_ms)
                .finish();
        }
        out.i16(4)
            .i64(self.offset)
            .i32(self.leader_epoch)
            .compact_string(&self.metadata)
            .i64(self.committed_at_ms);
        if self.topic == TopicUuid::default() {
            out.uvarint(0);
        } else {
            out.uvarint(1).uvarint(0).uvarint(16).raw(&self.topic);
        }
        out.finish()
    }

    /// # Errors
    /// Bytes that are no value of versions 0 to 4.
    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let version = input.i16()?;
        if !(0..=4).contains(&version) {
            return Err(Malformed);
        }
        let offset = input.i64()?;
        let leader_epoch = if version >= 3 { input.i32()? } else { -1 };
        let metadata = if version >= 4 {
            input.compact_string()?
        } else {
            input.string()?
        };
        let committed_at_ms = input.i64()?;
        let expires_at_ms = if version == 1 {
            Some(input.i64()?)
        } else {
            None
        };
        let mut topic = TopicUuid::default();
        if version >= 4 {
            input.tags(|tag, field| {
                if tag == 0 {
                    topic = field.uuid()?;
                }
                Ok(())
            })?;
        }
        input.end()?;
        let expires_at_ms = expires_at_ms.filter(|at| *at != -1);
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            committed_at_ms,
            expires_at_ms,
            topic,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn commit() -> OffsetCommit {
        OffsetCommit {
            offset: 42,
            leader_epoch: 3,
            metadata: "here".into(),
            committed_at_ms: 1_000,
            expires_at_ms: None,
            topic: [7; 16],
        }
    }

    #[test]
    fn the_newest_version_is_kafkas_bytes() {
        let mut expected = vec![0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 3, 5];
        expected.extend(b"here");
        expected.extend([0, 0, 0, 0, 0, 0, 3, 232, 1, 0, 16]);
        expected.extend([7; 16]);
        assert_eq!(commit().encode(), expected);
        assert_eq!(OffsetCommit::decode(&expected), Ok(commit()));
    }

    #[test]
    fn an_explicit_expiry_is_kept_by_version_1() {
        let old = OffsetCommit {
            expires_at_ms: Some(9_000),
            ..commit()
        };
        let read = OffsetCommit::decode(&old.encode()).expect("own bytes");
        assert_eq!(read.expires_at_ms, Some(9_000));
        assert_eq!((read.leader_epoch, read.topic), (-1, [0; 16]));
    }

    #[test]
    fn every_older_version_is_read() {
        for version in 0..=3i16 {
            let mut out = Output::default();
            out.i16(version).i64(42);
            if version == 3 {
                out.i32(3);
            }
            out.string("here").i64(1_000);
            if version == 1 {
                out.i64(-1);
            }
            let read = OffsetCommit::decode(&out.finish()).expect("a valid version");
            assert_eq!(
                (read.offset, &*read.metadata, read.expires_at_ms),
                (42, "here", None)
            );
            assert_eq!(read.leader_epoch, if version == 3 { 3 } else { -1 });
        }
    }

    #[test]
    fn cut_or_changed_bytes_are_refused_or_read_but_never_panic() {
        let good = commit().encode();
        for cut in 0..good.len() {
            assert!(OffsetCommit::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] = value;
                let _ = OffsetCommit::decode(&bad);
            }
        }
        let key = offset_key("g", "t", 5);
        assert_eq!(
            Key::decode(&key),
            Ok(Key::Offset {
                group: "g".into(),
                topic: "t".into(),
                partition: 5
            })
        );
        for cut in 0..key.len() {
            assert_eq!(Key::decode(&key[..cut]), Err(Malformed));
        }
    }
}
